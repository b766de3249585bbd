package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// errNoSocket says that a call is not about a socket with a destination.
var errNoSocket = errors.New("no destination")

// wish is what a call asks for: that a socket be connected to a destination, or that
// datagrams be sent to some.
type wish struct {
	fd    int
	parts []sending // at least one, unless there is an error
}

// sending is one destination of a call.
type sending struct {
	dest netip.AddrPort // as the program gave it: IPv4 in IPv6 is not unmapped; invalid: the socket's peer
	// bare tells that the address has no family. The kernel takes it for one of IPv4
	// if the socket is a datagram socket of IPv4, and else for none.
	bare bool
	from origin // that the message names
}

// origin is where a message leaves this host, as far as that is said. The zero value
// says nothing.
type origin struct {
	source netip.Addr
	index  int  // of the interface; 0: not said
	marked bool // for other routes than those without a mark (SO_MARK, socket(7))
	routed bool // by way of other hosts (source routes)
}

// header is struct msghdr (sendmsg(2)) of another process. Its addresses are numbers: the
// garbage collector ends the process over a pointer that is none of its own.
type header struct {
	name       uintptr
	nameLen    uint32
	_, _       uintptr // the data
	control    uintptr
	controlLen uintptr
	_          int32 // flags
}

// maxMessages is the number of messages that sendmmsg(2) sends at most (UIO_MAXIOV).
const maxMessages = 1024

// readWish finds out what a call asks for. The error is errNoSocket if the call has no
// IPv4 or IPv6 destination. Of several messages, those up to the first destination are
// read. With all, each is read, and those that say where they leave this host count
// without a destination, too.
func readWish(c notify.Call, all bool) (wish, error) {
	w := wish{fd: int(int32(c.Args[0]))}
	switch c.NR {
	case unix.SYS_CONNECT:
		return w.address(c.PID, c.Args[1], uint64(uint32(c.Args[2])), false)
	case unix.SYS_SENDTO:
		return w.address(c.PID, c.Args[4], uint64(uint32(c.Args[5])), true)
	case unix.SYS_SENDMSG:
		return w, w.message(c.PID, c.Args[1], all)
	case unix.SYS_SENDMMSG:
		const size = uint64(unsafe.Sizeof(struct {
			header
			n uint32
		}{}))
		for i := range min(uint64(uint32(c.Args[2])), maxMessages) {
			err := w.message(c.PID, c.Args[1]+i*size, all)
			if err != nil && !errors.Is(err, errNoSocket) {
				return w, err
			}
			if len(w.parts) > 0 && !all {
				break
			}
		}
	}
	if len(w.parts) == 0 {
		return w, errNoSocket
	}
	return w, nil
}

// address adds the destination at an address in a thread's memory.
func (w wish) address(tid uint32, at, size uint64, datagram bool) (wish, error) {
	part, err := readDest(tid, at, size, datagram)
	w.parts = append(w.parts, part)
	return w, err
}

// message adds the destination of a message, if it has one. With peer, it also adds the
// socket's peer as the destination of a message that says where it leaves this host.
func (w *wish) message(tid uint32, at uint64, peer bool) error {
	var h header
	if err := readMemory(tid, at, unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))); err != nil {
		return err
	}
	part, err := readDest(tid, uint64(h.name), uint64(h.nameLen), true)
	none := errors.Is(err, errNoSocket)
	if err != nil && (!none || !peer) {
		return err
	}
	if part.from, err = readOrigin(tid, &h); err != nil {
		return err
	}
	if none && part.from == (origin{}) {
		return errNoSocket
	}
	w.parts = append(w.parts, part)
	return nil
}

// readDest reads a socket address from a thread's memory.
func readDest(tid uint32, at, size uint64, datagram bool) (s sending, err error) {
	if at == 0 || size < 2 {
		return s, errNoSocket
	}
	var b [unix.SizeofSockaddrInet6]byte
	n := min(size, uint64(len(b)))
	if err := readMemory(tid, at, b[:n]); err != nil {
		return s, err
	}
	if s.bare = datagram && binary.NativeEndian.Uint16(b[:]) == unix.AF_UNSPEC; s.bare {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
	}
	s.dest, err = parseSockaddr(b[:n])
	return s, err
}

// maxControl bounds how much of a message's control data is read. By itself the kernel
// takes 128 KiB at most (optmem_max, Linux 6.7).
const maxControl = 1 << 20

// readOrigin reads where a message says it is to be sent from (IP_PKTINFO, ip(7);
// IPV6_PKTINFO, RFC 3542 section 6; SO_MARK), and whether it has a source route. Other
// control data do not say that, such as the ECN mark that QUIC sets.
func readOrigin(tid uint32, h *header) (o origin, err error) {
	switch {
	case h.control == 0 || h.controlLen == 0:
		return o, nil
	case h.controlLen > maxControl:
		return o, fmt.Errorf("a message has %d bytes of control data, which is too much to look at", h.controlLen)
	}
	b := make([]byte, h.controlLen)
	if err := readMemory(tid, uint64(h.control), b); err != nil {
		return o, err
	}
	return parseOrigin(b), nil
}

// ipv6PktInfo2292 and ipv6RoutingHeader2292 are IPV6_2292PKTINFO and IPV6_2292RTHDR
// (linux/in6.h): the same by their older numbers.
const (
	ipv6PktInfo2292       = 2
	ipv6RoutingHeader2292 = 5
)

// Options of IPv4 (RFC 791 section 3.1). The last two name hosts on the way.
const (
	optionEnd, optionNothing = 0, 1
	optionLooseRoute         = 131
	optionStrictRoute        = 137
)

// sourceRoute tells whether options of IPv4 have a source route. With one, the kernel looks
// for the way to the first host in it, and not to the destination.
func sourceRoute(b []byte) bool {
	for len(b) > 0 {
		switch b[0] {
		case optionLooseRoute, optionStrictRoute:
			return true
		case optionNothing:
			b = b[1:]
			continue
		case optionEnd:
			return false
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return false // the kernel refuses these
		}
		b = b[b[1]:]
	}
	return false
}

// parseOrigin reads control data. From malformed ones it reads nothing: the kernel sends
// no such message.
func parseOrigin(control []byte) (o origin) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return origin{}
	}
	say := func(a netip.Addr, index uint32) {
		if a = a.Unmap(); !a.IsUnspecified() {
			o.source = a
		}
		if index != 0 {
			o.index = int(index)
		}
	}
	for _, m := range messages {
		b := m.Data
		switch [2]int32{m.Header.Level, m.Header.Type} {
		case [2]int32{unix.IPPROTO_IP, unix.IP_PKTINFO}:
			if len(b) >= unix.SizeofInet4Pktinfo {
				say(netip.AddrFrom4([4]byte(b[4:8])), binary.NativeEndian.Uint32(b))
			}
		case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}, [2]int32{unix.IPPROTO_IPV6, ipv6PktInfo2292}:
			if len(b) >= unix.SizeofInet6Pktinfo {
				say(netip.AddrFrom16([16]byte(b[:16])), binary.NativeEndian.Uint32(b[16:]))
			}
		case [2]int32{unix.IPPROTO_IP, unix.IP_RETOPTS}:
			o.routed = o.routed || sourceRoute(b)
		case [2]int32{unix.IPPROTO_IPV6, unix.IPV6_RTHDR}, [2]int32{unix.IPPROTO_IPV6, ipv6RoutingHeader2292}:
			o.routed = true
		case [2]int32{unix.SOL_SOCKET, unix.SO_MARK}:
			o.marked = o.marked || len(b) >= 4 && binary.NativeEndian.Uint32(b) != 0
		}
	}
	return o
}

// parseSockaddr reads a socket address of IPv4 or IPv6 (ip(7), ipv6(7)). Anything else
// is errNoSocket: the call goes on, and the kernel tells the program what is wrong.
func parseSockaddr(b []byte) (netip.AddrPort, error) {
	if len(b) < 2 {
		return netip.AddrPort{}, errNoSocket
	}
	family := uint16(b[0]) | uint16(b[1])<<8
	switch {
	case family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port(b)), nil
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6-4: // the old form without a scope (RFC 2133)
		a := netip.AddrFrom16([16]byte(b[8:24]))
		if len(b) >= unix.SizeofSockaddrInet6 && scoped(a) {
			if scope := uint32(b[24]) | uint32(b[25])<<8 | uint32(b[26])<<16 | uint32(b[27])<<24; scope != 0 {
				a = a.WithZone(strconv.FormatUint(uint64(scope), 10))
			}
		}
		return netip.AddrPortFrom(a, port(b)), nil
	}
	return netip.AddrPort{}, errNoSocket
}

// scoped tells whether the kernel looks at the scope of an address. With others it is
// ignored, so that it names no interface.
func scoped(a netip.Addr) bool { return !a.Is4In6() && (a.IsLinkLocalUnicast() || a.IsMulticast()) }

func port(b []byte) uint16 { return uint16(b[2])<<8 | uint16(b[3]) }
