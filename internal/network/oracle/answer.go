package oracle

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Verdict is what becomes of a packet.
type Verdict uint8

// The verdicts. The last three are what an administrator asked for, by a route
// or by a rule (ip-rule(8)).
const (
	NoRoute     Verdict = iota // nothing leads there
	Sent                       // to a neighbour or a gateway
	Local                      // to this host
	Prohibited                 // refused: "administratively prohibited"
	Unreachable                // refused: "host unreachable"
	Dropped                    // blackhole, or a source that is no address of this host
)

func (v Verdict) String() string {
	switch v {
	case NoRoute:
		return "no route"
	case Sent:
		return "sent"
	case Local:
		return "local"
	case Prohibited:
		return "prohibited"
	case Unreachable:
		return "unreachable"
	case Dropped:
		return "blackhole"
	}
	return "unknown"
}

// Refused tells that somebody wanted the packet not to be sent.
func (v Verdict) Refused() bool { return v >= Prohibited }

// Answer is what the kernel says. Only Verdict counts unless it is Sent or Local.
type Answer struct {
	Verdict Verdict
	// Prefix is that of the route that matched; invalid in an answer of Kernel.Source.
	Prefix netip.Prefix
	Table  int
	Metric int
	Hop    // the next hop, or the first of several
	// More are further next hops of the same route (ECMP), among which the kernel
	// takes one by a hash of the connection.
	More []Hop
	// Source is the address that the kernel gives to sockets that are not bound;
	// invalid if it depends on more than the route, see Kernel.Source.
	Source netip.Addr
	// Expires is how long the route has still to live; zero: for ever. The kernel
	// does not tell when that time is over.
	Expires time.Duration
	object  bool // the route names a next-hop object and does not say what is in it
}

// Hop is a next hop.
type Hop struct {
	Index   int        // of the interface
	Gateway netip.Addr // invalid: the destination is a neighbour
}

// bindTo leaves only the next hops on a device, if there are some: the kernel shows
// the whole route though it will take one of these.
func (a *Answer) bindTo(device int) {
	if device == 0 || len(a.More) == 0 {
		return
	}
	var on []Hop
	for _, h := range append([]Hop{a.Hop}, a.More...) {
		if h.Index == device {
			on = append(on, h)
		}
	}
	if len(on) > 0 {
		a.Hop, a.More = on[0], on[1:]
	}
}

// Shared tells that the next hops are on several interfaces.
func (a *Answer) Shared() bool {
	for _, h := range a.More {
		if h.Index != a.Index {
			return true
		}
	}
	return false
}

var errMalformed = errors.New("malformed rtnetlink message")

// userHZ is the unit of times in rtnetlink, on all architectures that Go runs on.
const userHZ = 100

// decode reads the body of an RTM_NEWROUTE.
func decode(b []byte) (Answer, error) {
	var a Answer
	if len(b) < rtMsgLen {
		return a, errMalformed
	}
	family, bits := b[0], int(b[1])
	a.Table = int(b[4])
	a.Verdict = verdictOf(b[7])
	hopFlags := binary.NativeEndian.Uint32(b[8:])
	var dst netip.Addr
	switch family {
	case unix.AF_INET:
		dst = netip.IPv4Unspecified()
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return a, errMalformed
	}
	err := attributes(b[rtMsgLen:], func(kind uint16, data []byte) error {
		var err error
		switch kind {
		case unix.RTA_DST:
			dst, err = addr(data, dst.BitLen())
		case unix.RTA_PREFSRC:
			a.Source, err = addr(data, dst.BitLen())
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			a.Gateway, err = gateway(kind, data, dst.BitLen())
		case unix.RTA_OIF:
			a.Index, err = index(data)
		case unix.RTA_TABLE:
			a.Table, err = index(data)
		case unix.RTA_PRIORITY:
			a.Metric, err = number(data)
		case nextHopID:
			a.object = true
		case unix.RTA_CACHEINFO:
			a.Expires, err = expiry(data)
		case unix.RTA_MULTIPATH:
			a.Hop, a.More, err = hops(data, dst.BitLen())
		}
		return err
	})
	if err != nil {
		return a, err
	}
	if bits > dst.BitLen() {
		return a, errMalformed
	}
	a.Prefix, err = dst.Prefix(bits)
	if err != nil {
		return a, errMalformed
	}
	a.object = a.object && a.Index == 0
	if a.Verdict == Sent && (hopFlags&unix.RTNH_F_DEAD != 0 || a.Expires < 0 || a.Index == 0 && !a.object) {
		a.Verdict = NoRoute
	}
	return a, nil
}

func verdictOf(kind byte) Verdict {
	switch kind {
	case unix.RTN_UNICAST, unix.RTN_MULTICAST, unix.RTN_BROADCAST, unix.RTN_ANYCAST:
		return Sent
	case unix.RTN_LOCAL:
		return Local
	case unix.RTN_PROHIBIT:
		return Prohibited
	case unix.RTN_UNREACHABLE:
		return Unreachable
	case unix.RTN_BLACKHOLE:
		return Dropped
	}
	return NoRoute
}

// verdictOfError reads the error that stands in place of an answer; false if it
// tells nothing about routes.
func verdictOfError(err error, q *Question) (Verdict, bool) {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return NoRoute, false
	}
	switch errno {
	case unix.ENETUNREACH, unix.ESRCH, unix.ENODEV, unix.ENETDOWN, unix.EAGAIN, unix.EAFNOSUPPORT, unix.EOPNOTSUPP:
		return NoRoute, true
	case unix.EACCES, unix.EPERM:
		return Prohibited, true
	case unix.EHOSTUNREACH:
		if q.Device != 0 {
			// IPv4 takes destinations that nothing leads to for neighbours on the
			// device, and has no route to show for it then.
			return NoRoute, true
		}
		return Unreachable, true
	case unix.EINVAL:
		return Dropped, true
	}
	return NoRoute, false
}

// attributes calls f for each attribute.
func attributes(b []byte, f func(kind uint16, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < attrLen {
			return errMalformed
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrLen || size > len(b) {
			return errMalformed
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&attrType, b[attrLen:size]); err != nil {
			return err
		}
		b = b[min(align(size), len(b)):]
	}
	return nil
}

// hops reads the next hops of a multipath route, those that are dead left out.
func hops(b []byte, bitLen int) (first Hop, more []Hop, err error) {
	for len(b) > 0 {
		if len(b) < hopLen {
			return first, more, errMalformed
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < hopLen || size > len(b) {
			return first, more, errMalformed
		}
		h := Hop{Index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
		if h.Index <= 0 {
			return first, more, errMalformed
		}
		err := attributes(b[hopLen:size], func(kind uint16, data []byte) (err error) {
			if kind == unix.RTA_GATEWAY || kind == unix.RTA_VIA {
				h.Gateway, err = gateway(kind, data, bitLen)
			}
			return err
		})
		switch {
		case err != nil:
			return first, more, err
		case b[2]&unix.RTNH_F_DEAD != 0:
		case first.Index == 0:
			first = h
		default:
			more = append(more, h)
		}
		b = b[min(align(size), len(b)):]
	}
	return first, more, nil
}

// gateway reads a gateway, which as an RTA_VIA is of the other family (RFC 5549).
func gateway(kind uint16, data []byte, bitLen int) (netip.Addr, error) {
	if kind == unix.RTA_VIA {
		if len(data) < 2 {
			return netip.Addr{}, errMalformed
		}
		data, bitLen = data[2:], 8*(len(data)-2)
	}
	a, err := addr(data, bitLen)
	if a.IsUnspecified() {
		a = netip.Addr{}
	}
	return a, err
}

func addr(data []byte, bitLen int) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(data)
	if !ok || a.BitLen() != bitLen {
		return netip.Addr{}, errMalformed
	}
	return a, nil
}

func number(data []byte) (int, error) {
	if len(data) < 4 {
		return 0, errMalformed
	}
	return int(binary.NativeEndian.Uint32(data)), nil
}

// index reads a number that must be positive, of 31 bits for interfaces.
func index(data []byte) (int, error) {
	n, err := number(data)
	if err == nil && n <= 0 {
		err = errMalformed
	}
	return n, err
}

// expiry reads rta_expires of struct rta_cacheinfo.
func expiry(data []byte) (time.Duration, error) {
	if len(data) < 12 {
		return 0, errMalformed
	}
	ticks := int32(binary.NativeEndian.Uint32(data[8:]))
	return time.Duration(ticks) * (time.Second / userHZ), nil
}
