package pathstat

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/dump"
	"github.com/socket-intents/mamma/internal/sockdiag"
)

// Numbers of linux/inet_diag.h and net/tcp_states.h that x/sys lacks.
const (
	tcpdiagGetSock   = 18 // TCPDIAG_GETSOCK
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	inetDiagInfo     = 2  // INET_DIAG_INFO
	inetDiagMsgLen   = 72 // struct inet_diag_msg
	tcpListen        = 10 // TCP_LISTEN
	unknownMinRTT    = 1<<32 - 1
	timerRetransmit  = 1 // idiag_timer: for retransmission

	// stallRetransmits is the number of retransmissions in a row from which a
	// connection counts as stalled. One retransmission happens on every lossy link. The
	// second comes 600 ms later at the earliest, with the kernel's shortest time-out
	// (TCP_RTO_MIN).
	stallRetransmits = 2

	// diagStates are the states that are asked for: those of
	// doc/original/measurement.md 4.1 without LISTEN (M5). The kernel leaves out
	// sockets in TIME_WAIT, of which there may be many thousands.
	diagStates = 0xF33 &^ (1 << tcpListen)
)

// Offsets in struct tcp_info. The structure is shorter in older kernels and longer in
// newer ones.
const (
	infoLost    = 32
	infoHeard   = 52 // tcpi_last_data_recv, followed by tcpi_last_ack_recv
	infoRTT     = 68
	infoRTTVar  = 72
	infoRetrans = 100 // tcpi_total_retrans
	infoSegsOut = 136
	infoSegsIn  = 140
	infoMinRTT  = 148 // tcpi_min_rtt, since Linux 4.6
	infoSent    = 156 // tcpi_data_segs_out, since Linux 4.6
	infoNeeded  = infoRTTVar + 4
)

// tcpSocket is what a dump says about one TCP socket.
type tcpSocket struct {
	// Local and Remote are in 16-byte form, with IPv4 mapped. So IPv4 connections look
	// the same on IPv4 and on IPv6 sockets (M6).
	Local, Remote         [16]byte
	LocalPort, RemotePort uint16
	UID, Inode            uint32 // as in Connection
	Device                uint32 // interface that the socket is bound to; 0: none
	// Stalled tells that the socket has retransmitted at least twice in a row, and
	// still waits for an acknowledgement.
	Stalled bool
	// Heard is the time since data or an acknowledgement last arrived, in milliseconds.
	Heard uint32
	// Silent is the time since data last arrived, in milliseconds.
	Silent uint32
	MinRTT uint32 // microseconds; 0: unknown
	Cookie uint64 // as SO_COOKIE tells it
	// BytesSent and BytesReceived are as sockdiag.Carried has them.
	BytesSent, BytesReceived uint64
	// Segments is the number of segments that the connection has sent and received. It
	// changes whenever something happens on the connection.
	Segments uint32
	Sample   Sample
}

// parseSocket decodes an inet_diag_msg and its attributes into s. It returns false for
// everything that is not a TCP connection with tcp_info, such as a listening socket.
func parseSocket(b []byte, s *tcpSocket) bool {
	if len(b) < inetDiagMsgLen || b[1] == tcpListen {
		return false
	}
	switch b[0] {
	case unix.AF_INET:
		s.Local, s.Remote = mapped4(b[8:12]), mapped4(b[24:28])
	case unix.AF_INET6:
		s.Local, s.Remote = [16]byte(b[8:24]), [16]byte(b[24:40])
	default:
		return false
	}
	s.LocalPort, s.RemotePort = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	s.UID, s.Inode = binary.NativeEndian.Uint32(b[64:]), binary.NativeEndian.Uint32(b[68:])
	s.Device = binary.NativeEndian.Uint32(b[40:])
	s.Cookie = uint64(binary.NativeEndian.Uint32(b[44:])) | uint64(binary.NativeEndian.Uint32(b[48:]))<<32
	s.Stalled = b[2] == timerRetransmit && b[3] >= stallRetransmits
	for rest := b[inetDiagMsgLen:]; ; {
		kind, data, more, err := dump.Attribute(rest)
		if err != nil {
			return false
		}
		if kind == inetDiagInfo {
			s.BytesSent, s.BytesReceived, _ = sockdiag.Carried(data, b[1])
			return s.parseInfo(data)
		}
		rest = more
	}
}

func (s *tcpSocket) parseInfo(info []byte) bool {
	if len(info) < infoNeeded {
		return false
	}
	field := func(offset int) uint32 {
		if len(info) < offset+4 {
			return 0
		}
		return binary.NativeEndian.Uint32(info[offset:])
	}
	s.Sample = Sample{
		RTT:     field(infoRTT),
		RTTVar:  field(infoRTTVar),
		Sent:    field(infoSent),
		Lost:    field(infoLost),
		Retrans: field(infoRetrans),
	}
	s.Silent = field(infoHeard)
	s.Heard = min(s.Silent, field(infoHeard+4))
	if s.MinRTT = field(infoMinRTT); s.MinRTT == unknownMinRTT {
		s.MinRTT = 0
	}
	s.Segments = field(infoSegsOut) + field(infoSegsIn)
	return true
}

func mapped4(b []byte) [16]byte { return netip.AddrFrom4([4]byte(b)).As16() }

// diagMode is the way to ask for sockets.
type diagMode int

const (
	// diagBoth gets both families with one request of the older form (TCPDIAG_GETSOCK).
	// A dump walks the kernel's whole table, which has 262144 buckets on a machine with
	// 24 GiB, so one dump costs half as much as two.
	diagBoth diagMode = iota
	// diagEach makes one dump per family. Both are needed even if all prefixes are
	// IPv4, because IPv4 connections on IPv6 sockets appear in the second.
	diagEach
	// diagPlain is diagEach without a filter in the kernel.
	diagPlain
)

// diagSockets reads the host's TCP connections by inet_diag.
type diagSockets struct {
	d    *dump.Dumper
	mode diagMode
	sock tcpSocket
}

func newDiagSockets() *diagSockets { return &diagSockets{d: dump.New(unix.NETLINK_SOCK_DIAG)} }

// Read calls visit for each TCP connection whose local address is among those given,
// and perhaps for others. The socket is valid during the call only. interrupted says
// that sockets may be missing or doubled. If the kernel does not know a mode, Read goes
// on to a plainer one; it calls begin before each attempt.
func (r *diagSockets) Read(addrs []netip.Addr, begin func(), visit func(*tcpSocket)) (interrupted bool, err error) {
	for {
		begin()
		interrupted, err = r.attempt(addrs, visit)
		if err == nil || r.mode == diagPlain || !unsupported(err) {
			return interrupted, err
		}
		r.mode++
	}
}

func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)
}

func (r *diagSockets) attempt(addrs []netip.Addr, visit func(*tcpSocket)) (interrupted bool, err error) {
	each := func(_ uint16, body []byte) {
		if parseSocket(body, &r.sock) {
			visit(&r.sock)
		}
	}
	if r.mode == diagPlain {
		addrs = nil
	}
	if r.mode == diagBoth {
		return r.d.Dump(legacyRequest(addrs), each)
	}
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		intr, err := r.d.Dump(familyRequest(family, addrs), each)
		interrupted = interrupted || intr
		if err != nil {
			return interrupted, err
		}
	}
	return interrupted, nil
}

func (r *diagSockets) Close() error { return r.d.Close() }

// legacyRequest makes a header and a struct inet_diag_req. The kernel ignores the
// family in it.
func legacyRequest(addrs []netip.Addr) []byte {
	b := make([]byte, dump.HeaderLen+60)
	binary.NativeEndian.PutUint16(b[4:], tcpdiagGetSock)
	b[dump.HeaderLen+3] = 1 << (inetDiagInfo - 1)
	binary.NativeEndian.PutUint32(b[dump.HeaderLen+52:], diagStates)
	return sockdiag.AppendFilter(b, addrs)
}

// familyRequest makes a header and a struct inet_diag_req_v2.
func familyRequest(family byte, addrs []netip.Addr) []byte {
	b := make([]byte, dump.HeaderLen+56)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	b[dump.HeaderLen] = family
	b[dump.HeaderLen+1] = unix.IPPROTO_TCP
	b[dump.HeaderLen+2] = 1 << (inetDiagInfo - 1)
	binary.NativeEndian.PutUint32(b[dump.HeaderLen+4:], diagStates)
	return sockdiag.AppendFilter(b, addrs)
}
