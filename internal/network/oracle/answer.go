package oracle

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Verdict says what happens to a packet.
type Verdict uint8

// The verdicts. The last three are an administrator's wish, in a route or in a rule
// (ip-rule(8)).
const (
	NoRoute     Verdict = iota // no route leads there
	Sent                       // to a neighbour or a gateway
	Local                      // to this host
	Prohibited                 // refused: "administratively prohibited"
	Unreachable                // refused: "host unreachable"
	Dropped                    // blackhole, or the source is not an address of this host
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

// Refused tells whether an administrator wants the packet not to be sent.
func (v Verdict) Refused() bool { return v >= Prohibited }

// Answer is the kernel's answer to a Question. Unless Verdict is Sent or Local, nothing
// else in it counts.
type Answer struct {
	Verdict Verdict
	// Kind is the kind of the route, such as unix.RTN_BROADCAST. It is 0 if there is no
	// route, or if the kernel only said what happens to the packet.
	Kind uint8
	// Prefix is the destination of the route that matched; invalid if the kernel does
	// not tell.
	Prefix netip.Prefix
	Table  int
	Metric int
	Hop    // the next hop; of several, the one with the largest weight
	// More are further next hops of the same route (ECMP). The kernel chooses among all
	// of them by a hash of the connection.
	More []Hop
	// Source is the address that the route names for unbound sockets (RTA_PREFSRC). It
	// is invalid if the source depends on more than the route, see Kernel.Source.
	Source netip.Addr
	// BySource tells that the route is only for certain sources.
	BySource bool
	// Expires is the remaining lifetime of the route; zero: for ever. The kernel
	// reports no event at its end.
	Expires time.Duration
	object  int  // the next-hop object that the route names without saying what is in it; 0: none
	grouped bool // the next hops come from an object
}

// Hop is a next hop.
type Hop struct {
	Index   int        // of the interface
	Gateway netip.Addr // invalid: the destination is a neighbour
}

// bindTo keeps only the next hops on a device, if there are some. The kernel shows the
// whole route, although it will take one of these. IPv6 is an exception: it takes any
// next hop of a group of next-hop objects, whatever device the socket is bound to.
func (a *Answer) bindTo(device int, v6 bool) {
	if device == 0 || len(a.More) == 0 || v6 && a.grouped {
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

// Shared tells whether the next hops are on several interfaces.
func (a *Answer) Shared() bool {
	for _, h := range a.More {
		if h.Index != a.Index {
			return true
		}
	}
	return false
}

var errMalformed = errors.New("malformed rtnetlink message")

// decode reads the body of an RTM_NEWROUTE that answers a question.
func decode(b []byte) (Answer, error) {
	r, err := decodeRoute(b)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{
		Verdict: verdictOf(r.Kind), Kind: r.Kind, Prefix: r.Prefix, Table: r.Table, Metric: r.Metric, Source: r.Source, BySource: r.From.IsValid(), Expires: r.Expires,
	}
	if a.grouped = r.Object != 0; len(r.Hops) == 0 {
		a.object = r.Object
	}
	if r.Prefix.Addr().Is6() {
		// IPv6 begins with the next hop that the destination's hash has chosen.
		slices.SortStableFunc(r.Hops, func(x, y Step) int { return cmp.Compare(x.Index, y.Index) })
	}
	a.lead(r.Hops)
	if a.Verdict == Sent && (a.Expires < 0 || a.Index == 0 && a.object == 0) {
		a.Verdict = NoRoute
	}
	return a, nil
}

// lead sets the next hops, without dead ones. The one that gets the most connections
// comes first.
func (a *Answer) lead(list []Step) {
	if len(list) == 1 && !list[0].Dead {
		a.Hop = list[0].Hop
		return
	}
	alive := slices.DeleteFunc(slices.Clone(list), func(s Step) bool { return s.Dead })
	slices.SortStableFunc(alive, func(x, y Step) int { return cmp.Compare(y.Weight, x.Weight) })
	for i := range alive {
		if i == 0 {
			a.Hop = alive[i].Hop
		} else {
			a.More = append(a.More, alive[i].Hop)
		}
	}
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

// verdictOfError interprets an error that the kernel sends instead of an answer. ok is
// false if the error says nothing about routes.
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
			// IPv4 takes destinations without a route for neighbours on the device, and
			// then shows no route.
			return NoRoute, true
		}
		return Unreachable, true
	case unix.EINVAL:
		return Dropped, true
	}
	return NoRoute, false
}
