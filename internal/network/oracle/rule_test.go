package oracle

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// ruleMessage makes the body of an RTM_NEWRULE.
func ruleMessage(family, action byte, flags uint32, attrs ...[]byte) []byte {
	b := make([]byte, rtMsgLen)
	b[0], b[7] = family, action
	binary.NativeEndian.PutUint32(b[8:], flags)
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

func ruleFrom(bits byte, body []byte) []byte { body[2] = bits; return body }

func TestDecodeRule(t *testing.T) {
	t.Parallel()
	same := func(s string) string { return s }
	n := func(kind uint16, v uint32) []byte { return appendNumber(nil, kind, v) }
	none := ^uint32(0)
	for _, tt := range []struct {
		name, want string
		body       []byte
	}{
		{"the kernel's", "from all lookup 254", ruleMessage(unix.AF_INET, actTable, 0, n(fraTable, 254), n(fraLength, none), n(fraPriority, 32766), attr(fraMaker, 2))},
		{"by source", "from 10.0.0.0/8 prohibit", ruleFrom(8, ruleMessage(unix.AF_INET, actProhibit, 0, attr(fraSrc, 10, 0, 0, 0), n(fraTable, 0)))},
		{"of IPv6", "from fd00::/8 blackhole", ruleFrom(8, ruleMessage(unix.AF_INET6, actBlackhole, 0, attr(fraSrc, netip.MustParseAddr("fd00::").AsSlice()...)))},
		{"by mark", "not from all fwmark 0xca6c lookup 51820", ruleMessage(unix.AF_INET, actTable, ruleInvert, n(fraTable, 51820), n(fraMark, 0xca6c), n(fraMask, none))},
		{"without mark", "from all fwmark 0x0/0x10000 lookup 7", ruleMessage(unix.AF_INET, actTable, 0, n(fraTable, 7), n(fraMask, 0x10000))},
		{"by all else", "from all iif lo oif wlan0 uidrange 5-7 ipproto 17 sport 1-2 dport 3-4 lookup 7 suppress_prefixlength 0 suppress_ifgroup 9", ruleMessage(unix.AF_INET, actTable, 0,
			n(fraTable, 7), attr(fraIn, []byte("lo\x00")...), attr(fraOut, []byte("wlan0\x00")...), attr(fraUsers, append(binary.NativeEndian.AppendUint32(nil, 5), binary.NativeEndian.AppendUint32(nil, 7)...)...),
			attr(fraProtocol, 17), n(fraLength, 0), n(fraGroup, 9),
			attr(fraSourcePort, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 1), 2)...), attr(fraPort, binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 3), 4)...))},
		{"a jump", "from all goto 5000", ruleMessage(unix.AF_INET, actGoto, 0, n(fraGoto, 5000))},
		{"nothing to do", "from all nop", ruleMessage(unix.AF_INET, actNop, 0)},
		{"unreachable", "from all unreachable", ruleMessage(unix.AF_INET, actUnreachable, 0)},
	} {
		r, err := decodeRule(tt.body)
		if err != nil || r.Words(same) != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, r.Words(same), err, tt.want)
		}
	}
	for _, b := range [][]byte{
		nil, ruleMessage(7, actTable, 0), ruleMessage(unix.AF_INET, actTable, 0, attr(fraPriority, 1)), ruleMessage(unix.AF_INET, actTable, 0, attr(fraPort, 1)),
		ruleFrom(40, ruleMessage(unix.AF_INET, actTable, 0, attr(fraSrc, 10, 0, 0, 0))), ruleMessage(unix.AF_INET, actTable, 0, attr(fraUsers, 1)), ruleMessage(unix.AF_INET, actTable, 0, attr(fraMaker)),
	} {
		if _, err := decodeRule(b); !errors.Is(err, errMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func TestRuleHolds(t *testing.T) {
	t.Parallel()
	a := netip.MustParseAddr("10.0.0.2")
	near, far := netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.7.0.0/16")
	for _, tt := range []struct {
		name       string
		rule       Rule
		holds, may bool
	}{
		{"all", Rule{}, true, true},
		{"of the other family", Rule{V6: true}, false, false},
		{"its source", Rule{Source: near}, true, true},
		{"another source", Rule{Source: far}, false, false},
		{"not its source", Rule{Source: near, Invert: true}, false, false},
		{"not another source", Rule{Source: far, Invert: true}, true, true},
		{"a mark", Rule{Mark: 1, Mask: 255}, false, true},
		{"no mark", Rule{Mask: 255}, true, true},
		{"not a mark", Rule{Mark: 1, Mask: 255, Invert: true}, true, true},
		{"a destination", Rule{Dst: far}, false, true},
		{"not a destination", Rule{Dst: far, Invert: true}, true, true},
		{"not one half of all", Rule{Dst: netip.MustParsePrefix("128.0.0.0/1"), Invert: true}, false, true},
		{"not a destination, of a user", Rule{Dst: far, Users: true, FirstUser: 5, LastUser: 5, Invert: true}, true, true},
		{"not a user", Rule{Users: true, FirstUser: 1001, LastUser: 1001, Invert: true}, true, true},
		{"not services", Rule{Users: true, LastUser: 999, Invert: true}, true, true},
		{"not nobody", Rule{Users: true, FirstUser: 65534, LastUser: 65534, Invert: true}, true, true},
		{"not users who log in", Rule{Users: true, FirstUser: 1000, LastUser: 60000, Invert: true}, false, true},
		{"not all users", Rule{Users: true, LastUser: 1<<32 - 2, Invert: true}, false, false},
		{"not a protocol of connections", Rule{Protocol: unix.IPPROTO_TCP, Invert: true}, false, true},
		{"not another protocol", Rule{Protocol: unix.IPPROTO_ICMP, Invert: true}, true, true},
		{"not a port of a protocol", Rule{Protocol: unix.IPPROTO_UDP, Port: true, Ports: [2]uint16{53, 53}, Invert: true}, true, true},
		{"a user", Rule{Users: true, FirstUser: 5, LastUser: 5}, false, true},
		{"all users", Rule{Users: true, LastUser: 1<<32 - 2}, true, true},
		{"what comes in", Rule{In: "eth0"}, false, false},
		{"what this host sends", Rule{In: "lo"}, true, true},
		{"a port", Rule{Port: true}, false, true},
		{"something else", Rule{Other: true}, false, true},
	} {
		if holds, may := tt.rule.Holds(a); holds != tt.holds || may != tt.may {
			t.Errorf("%s: %v, %v", tt.name, holds, may)
		}
	}
}

// Whatever the kernel could send becomes a rule or an error.
func FuzzRule(f *testing.F) {
	f.Add(ruleMessage(unix.AF_INET, actTable, 0, appendNumber(nil, fraTable, 254), appendNumber(nil, fraPriority, 32766)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRule(b)
		if err != nil {
			return
		}
		a := netip.MustParseAddr("10.0.0.2")
		if r.V6 {
			a = netip.MustParseAddr("2a00::2")
		}
		if holds, may := r.Holds(a); holds && !may {
			t.Errorf("%+v holds for packets that it may not hold for", r)
		}
		if r.Words(func(s string) string { return s }) == "" {
			t.Errorf("%+v has no words", r)
		}
	})
}
