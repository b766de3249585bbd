package oracle

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// message makes an RTM_NEWROUTE or an error, as the kernel sends it.
func message(kind uint16, seq uint32, body []byte) []byte {
	b := make([]byte, headerLen)
	binary.NativeEndian.PutUint32(b, uint32(headerLen+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return append(b, body...)
}

func rtMessage(family, bits, kind byte, attrs ...[]byte) []byte {
	b := make([]byte, rtMsgLen)
	b[0], b[1], b[4], b[7] = family, bits, 254, kind
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func attr(kind uint16, data ...byte) []byte { return appendAttr(nil, kind, data) }

func hop(flags byte, index uint32, attrs ...byte) []byte {
	b := make([]byte, hopLen)
	binary.NativeEndian.PutUint16(b, uint16(hopLen+len(attrs)))
	b[2] = flags
	binary.NativeEndian.PutUint32(b[4:], index)
	return append(b, attrs...)
}

// answerOf decodes the answer to question 7.
func answerOf(b []byte) (a Answer, found bool, err error) {
	found, err = answerIn(b, 7, func(m *reply) (err error) {
		a, err = decode(m.body)
		return err
	})
	return a, found, err
}

func TestDecode(t *testing.T) {
	t.Parallel()
	two := appendNumber(nil, unix.RTA_OIF, 2)
	for _, tt := range []struct {
		name string
		body []byte
		want Answer
	}{
		{"default", rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, two, attr(unix.RTA_GATEWAY, 10, 0, 0, 1), appendNumber(nil, unix.RTA_PRIORITY, 7), appendNumber(nil, unix.RTA_TABLE, 9000)),
			Answer{Verdict: Sent, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Table: 9000, Metric: 7, Hop: Hop{2, netip.MustParseAddr("10.0.0.1")}}},
		{"gateway of the other family", rtMessage(unix.AF_INET, 24, unix.RTN_UNICAST, two, attr(unix.RTA_DST, 198, 18, 5, 0), attr(unix.RTA_VIA, append([]byte{10, 0}, netip.MustParseAddr("fe80::7").AsSlice()...)...)),
			Answer{Verdict: Sent, Prefix: netip.MustParsePrefix("198.18.5.0/24"), Table: 254, Hop: Hop{2, netip.MustParseAddr("fe80::7")}}},
		{"dead next hops do not count", rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, attr(unix.RTA_MULTIPATH, append(append(hop(unix.RTNH_F_DEAD, 3), hop(0, 4)...), hop(0, 5)...)...)),
			Answer{Verdict: Sent, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Table: 254, Hop: Hop{Index: 4}, More: []Hop{{Index: 5}}}},
		{"nothing but dead ones", rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, attr(unix.RTA_MULTIPATH, hop(unix.RTNH_F_DEAD, 3)...)),
			Answer{Verdict: NoRoute, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Table: 254}},
		{"expires", rtMessage(unix.AF_INET6, 0, unix.RTN_UNICAST, two, attr(unix.RTA_CACHEINFO, append(make([]byte, 8), binary.NativeEndian.AppendUint32(nil, 150)...)...)),
			Answer{Verdict: Sent, Prefix: netip.MustParsePrefix("::/0"), Table: 254, Hop: Hop{Index: 2}, Expires: 1500 * time.Millisecond}},
		{"a flag in the type", rtMessage(unix.AF_INET6, 0, unix.RTN_PROHIBIT, attr(0x8000|unix.RTA_OIF, 1, 0, 0, 0)),
			Answer{Verdict: Prohibited, Prefix: netip.MustParsePrefix("::/0"), Table: 254, Hop: Hop{Index: 1}}},
	} {
		got, found, err := answerOf(message(unix.RTM_NEWROUTE, 7, tt.body))
		if err != nil || !found || got.Verdict != tt.want.Verdict || got.Prefix != tt.want.Prefix || got.Table != tt.want.Table ||
			got.Metric != tt.want.Metric || got.Hop != tt.want.Hop || len(got.More) != len(tt.want.More) || got.Expires != tt.want.Expires {
			t.Errorf("%s: %+v, %v, %v, want %+v", tt.name, got, found, err, tt.want)
		}
	}
	code := func(errno unix.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))) }
	if _, found, err := answerOf(message(unix.NLMSG_ERROR, 7, code(unix.EACCES))); !found || !errors.Is(err, unix.EACCES) {
		t.Errorf("refused: %v, %v", found, err)
	}
	if _, found, err := answerOf(message(unix.NLMSG_ERROR, 6, code(unix.EACCES))); found || err != nil {
		t.Errorf("an older answer: %v, %v", found, err)
	}
	for name, b := range map[string][]byte{
		"short header": make([]byte, 3), "header that lies": message(unix.RTM_NEWROUTE, 7, nil)[:headerLen-1],
		"no body": message(unix.RTM_NEWROUTE, 7, nil), "no error": message(unix.NLMSG_ERROR, 7, nil), "acknowledgement": message(unix.NLMSG_ERROR, 7, make([]byte, 4)),
		"family": message(unix.RTM_NEWROUTE, 7, rtMessage(9, 0, 1)), "length": message(unix.RTM_NEWROUTE, 7, rtMessage(unix.AF_INET, 33, 1)),
		"short attribute": message(unix.RTM_NEWROUTE, 7, append(rtMessage(unix.AF_INET, 0, 1), 1, 0)),
		"address":         message(unix.RTM_NEWROUTE, 7, rtMessage(unix.AF_INET, 0, 1, attr(unix.RTA_DST, 1, 2, 3))),
		"hop":             message(unix.RTM_NEWROUTE, 7, rtMessage(unix.AF_INET, 0, 1, attr(unix.RTA_MULTIPATH, 1, 0, 0, 0))),
		"index":           message(unix.RTM_NEWROUTE, 7, rtMessage(unix.AF_INET, 0, 1, appendNumber(nil, unix.RTA_OIF, 0))),
	} {
		if _, _, err := answerOf(b); !errors.Is(err, errMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(message(unix.RTM_NEWROUTE, 7, rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, appendNumber(nil, unix.RTA_OIF, 2), attr(unix.RTA_GATEWAY, 10, 0, 0, 1))))
	f.Add(message(unix.RTM_NEWROUTE, 7, rtMessage(unix.AF_INET6, 0, unix.RTN_UNICAST, attr(unix.RTA_MULTIPATH, append(hop(0, 4), hop(1, 5)...)...))))
	f.Add(message(unix.NLMSG_ERROR, 7, binary.NativeEndian.AppendUint32(nil, uint32(1<<32-13))))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, found, err := answerOf(b)
		if !found || err != nil {
			return
		}
		if !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() {
			t.Errorf("prefix %v", a.Prefix)
		}
		if a.Verdict == Sent && a.Index <= 0 && a.object == 0 {
			t.Errorf("sent by no interface: %+v", a)
		}
		for _, h := range append(a.More, a.Hop) {
			if h.Gateway.IsUnspecified() || h.Index < 0 {
				t.Errorf("next hop %+v", h)
			}
		}
	})
}

// A route that was read and written again is read as the same route.
func FuzzRoute(f *testing.F) {
	two := appendNumber(nil, unix.RTA_OIF, 2)
	f.Add(rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, two, attr(unix.RTA_GATEWAY, 10, 0, 0, 1), appendNumber(nil, unix.RTA_PRIORITY, 7), attr(unix.RTA_METRICS, 8, 0, 2, 0, 0, 5, 0, 0)))
	f.Add(rtMessage(unix.AF_INET6, 0, unix.RTN_UNICAST, attr(unix.RTA_MULTIPATH, append(hop(0, 4), hop(1, 5)...)...)))
	f.Add(rtMessage(unix.AF_INET6, 0, unix.RTN_UNICAST, two, attr(unix.RTA_PREF, 3)))
	f.Add(rtMessage(unix.AF_INET, 24, unix.RTN_UNICAST, two, attr(unix.RTA_DST, 198, 18, 5, 0), attr(unix.RTA_VIA, append([]byte{10, 0}, netip.MustParseAddr("fe80::7").AsSlice()...)...)))
	f.Add(rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, appendNumber(nil, nextHopID, 12)))
	f.Add(rtMessage(unix.AF_INET6, 0, unix.RTN_UNICAST, two, attr(unix.RTA_CACHEINFO, append(make([]byte, 8), binary.NativeEndian.AppendUint32(nil, 150)...)...)))
	f.Add(rtMessage(unix.AF_INET, 0, unix.RTN_BLACKHOLE, appendNumber(nil, unix.RTA_TABLE, 9000)))
	f.Add(rtMessage(unix.AF_INET, 0, unix.RTN_UNICAST, two, attr(unix.RTA_ENCAP_TYPE, 1, 0), attr(unix.RTA_ENCAP, 4, 0, 1, 0), attr(unix.RTA_FLOW, 1, 0, 0, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRoute(b)
		if err != nil {
			return
		}
		again, err := decodeRoute(r.Append(nil))
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if r.Key() != again.Key() {
			t.Errorf("read %+v, then %+v", r, again)
		}
	})
}

// FuzzObject reads next-hop objects.
func FuzzObject(f *testing.F) {
	head := []byte{unix.AF_INET, 0, 77, 0, 0, 0, 0, 0}
	id := appendNumber(nil, nhaID, 12)
	for _, attrs := range [][]byte{
		nil, id, appendNumber(id, nhaOIF, 2), appendAttr(appendNumber(id, nhaOIF, 2), nhaGateway, []byte{10, 0, 0, 1}),
		appendAttr(id, nhaGroup, []byte{1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0}), appendAttr(id, nhaGroup, []byte{1, 0, 0}),
		appendAttr(id, nhaBlackhole, nil), appendAttr(id, nhaGateway, netip.MustParseAddr("fe80::1").AsSlice()),
	} {
		f.Add(append(append([]byte{}, head...), attrs...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeObject(b)
		if err != nil {
			return
		}
		if o.ID < 0 || o.Index < 0 || len(o.Group) > len(b)/memberLen {
			t.Errorf("%+v", o)
		}
		for _, m := range o.Group {
			if m.Weight < 1 {
				t.Errorf("%+v", o)
			}
		}
	})
}
