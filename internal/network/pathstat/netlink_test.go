package pathstat

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/dump"
)

// message builds a netlink message.
func message(kind, flags uint16, seq uint32, body []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(dump.HeaderLen+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(b, 0, 0, 0, 0)
	b = append(b, body...)
	return append(b, make([]byte, dump.Align(len(b))-len(b))...)
}

// attr builds a netlink attribute.
func attr(kind uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(dump.AttrLen+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, dump.Align(len(b))-len(b))...)
}

// code returns the body of a DONE or ERROR message.
func code(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// diagBody builds an inet_diag_msg and its attributes.
func diagBody(family, state byte, local, remote string, attrs ...[]byte) []byte {
	b := make([]byte, inetDiagMsgLen)
	b[0], b[1] = family, state
	copy(b[8:24], netip.MustParseAddr(local).AsSlice())
	copy(b[24:40], netip.MustParseAddr(remote).AsSlice())
	binary.NativeEndian.PutUint32(b[40:], 4)
	binary.NativeEndian.PutUint64(b[44:], 1<<40)
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

// tcpInfo builds a struct tcp_info of some kernel, size bytes long.
func tcpInfo(size int) []byte {
	info := unix.TCPInfo{
		Rtt: 25_000, Rttvar: 3000, Lost: 2, Total_retrans: 9,
		Segs_out: 100, Segs_in: 50, Data_segs_out: 80, Last_data_recv: 4000, Last_ack_recv: 700, Bytes_received: 5e9, Min_rtt: 20_000,
	}
	b := make([]byte, max(size, int(unsafe.Sizeof(info))))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
	return b[:size]
}

func TestParseSocket(t *testing.T) {
	mapped := func(s string) [16]byte { return netip.MustParseAddr(s).As16() }
	full := tcpSocket{
		Local: mapped("10.0.0.1"), Remote: mapped("192.0.2.9"), Device: 4, Cookie: 1 << 40, Segments: 150, Heard: 700, Silent: 4000,
		BytesReceived: 5e9, MinRTT: 20_000,
		Sample: Sample{RTT: 25_000, RTTVar: 3000, Sent: 80, Lost: 2, Retrans: 9},
	}
	six := full
	six.Local, six.Remote = mapped("2001:db8::1"), mapped("2001:db8::2")
	old := full
	old.Segments, old.Sample.Sent, old.BytesReceived, old.MinRTT = 0, 0, 0, 0
	stalled := full
	stalled.Stalled = true
	timer := func(kind, retransmits byte) []byte {
		b := diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", attr(inetDiagInfo, tcpInfo(280)))
		b[2], b[3] = kind, retransmits
		return b
	}
	other := attr(8, []byte{1}) // INET_DIAG_SHUTDOWN, padded
	flagged := attr(inetDiagInfo|unix.NLA_F_NESTED, tcpInfo(280))
	for _, test := range []struct {
		name string
		body []byte
		want *tcpSocket
	}{
		{"IPv4", diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", other, attr(inetDiagInfo, tcpInfo(280))), &full},
		{"IPv6", diagBody(unix.AF_INET6, 1, "2001:db8::1", "2001:db8::2", attr(inetDiagInfo, tcpInfo(280))), &six},
		{"mapped", diagBody(unix.AF_INET6, 1, "::ffff:10.0.0.1", "::ffff:192.0.2.9", attr(inetDiagInfo, tcpInfo(280))), &full},
		{"newer kernel", diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", attr(inetDiagInfo, tcpInfo(900))), &full},
		{"kernel before 4.2", diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", attr(inetDiagInfo, tcpInfo(104))), &old},
		{"retransmitted once", timer(1, 1), &full},
		{"retransmitted twice", timer(1, 2), &stalled},
		{"the peer's window is closed", timer(4, 9), &full},
		{"attribute flags", diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", flagged), &full},
		{"tcp_info too short", diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", attr(inetDiagInfo, tcpInfo(60))), nil},
		{"no tcp_info", diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9", other), nil},
		{"listening", diagBody(unix.AF_INET, tcpListen, "10.0.0.1", "0.0.0.0", attr(inetDiagInfo, tcpInfo(280))), nil},
		{"another family", diagBody(unix.AF_UNIX, 1, "10.0.0.1", "0.0.0.0", attr(inetDiagInfo, tcpInfo(280))), nil},
		{"cut message", make([]byte, inetDiagMsgLen-1), nil},
		{"cut attribute", append(diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9"), 200, 0, 2, 0, 1), nil},
		{"attribute of length 0", append(diagBody(unix.AF_INET, 1, "10.0.0.1", "192.0.2.9"), 0, 0, 2, 0), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got tcpSocket
			ok := parseSocket(test.body, &got)
			if ok != (test.want != nil) {
				t.Fatalf("accepted: %v", ok)
			}
			if ok {
				if diff := cmp.Diff(*test.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func FuzzWalk(f *testing.F) {
	body := diagBody(unix.AF_INET6, 1, "::ffff:10.0.0.1", "::1", attr(8, []byte{1}), attr(inetDiagInfo, tcpInfo(280)))
	f.Add(message(20, 0, 1, body))
	f.Add(message(unix.NLMSG_DONE, 0, 1, code(0)))
	f.Add(message(rtmNewStats, 0, 1, append(make([]byte, ifStatsMsgLen), attr(iflaStatsLink64, make([]byte, 200))...)))
	f.Add(message(unix.RTM_NEWLINK, 0, 1, append(make([]byte, unix.SizeofIfInfomsg), attr(unix.IFLA_STATS64, make([]byte, 200))...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		_, _, err := dump.Walk(b, 1, func(kind uint16, body []byte) {
			total += dump.HeaderLen + len(body)
			var s tcpSocket
			if parseSocket(body, &s) && len(body) < inetDiagMsgLen+dump.AttrLen+infoNeeded {
				t.Errorf("a socket out of %d bytes", len(body))
			}
			if _, _, ok := parseStats(kind, body); ok && len(body) < ifStatsMsgLen+dump.AttrLen+48 {
				t.Errorf("counters out of %d bytes", len(body))
			}
			if _, _, ok := parseLink(kind, body); ok && len(body) < unix.SizeofIfInfomsg+dump.AttrLen+48 {
				t.Errorf("counters out of %d bytes", len(body))
			}
		})
		if err == nil && total > len(b) {
			t.Errorf("%d bytes of messages out of %d", total, len(b))
		}
	})
}
