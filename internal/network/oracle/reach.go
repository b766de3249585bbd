package oracle

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Flow is a connection to be opened, with what rules can look at (ip-rule(8)).
type Flow struct {
	Dst  netip.Addr // may have an IPv6 zone, which matters
	User uint32     // the user id of the program
	// UserUnknown tells that User has no meaning. If rules depend on the user, nothing
	// then leads to the destination.
	UserUnknown bool
	Protocol    uint8  // of IP; 0: unknown
	Port        uint16 // of the destination; 0: unknown
}

// Reach names the interfaces by which a destination can be reached. The zero value
// means every interface that leads to everywhere.
type Reach struct {
	// Specific tells that routes or rules lead to the destination in another way than
	// to everywhere. Then only Index and Others lead there; an Index of 0 means no
	// interface.
	Specific bool
	Index    int
	Others   []int
	// Source is the address that the kernel would use on interface Index. It is invalid
	// if unknown, or if Specific is false.
	Source netip.Addr
	// Not and NotFrom name the Origins from which the kernel would not send there by
	// their interface. Not[i] is the interface and NotFrom[i] the address.
	Not     []int
	NotFrom []netip.Addr
}

// Origin is a network about which the kernel is asked separately.
type Origin struct {
	Index  int        // of its interface
	Source netip.Addr // address that its sockets are bound to
	// Bound tells that the sockets are also bound to the interface (SO_BINDTODEVICE).
	Bound bool
}

// Scope is what a Reacher needs to know about the host.
type Scope struct {
	Everywhere Everywhere
	Turn       Turn
	// Loopback is the index of the loopback interface.
	Loopback int
	// Zone returns the index of the interface that an IPv6 zone names, 0 if there is
	// none. If Zone is nil, no zone names an interface.
	Zone func(string) int
	// Devices are the interfaces that may be used.
	Devices []int
	// Origins are the networks for which the kernel's way for unbound traffic is not
	// enough: their sockets are bound to the interface, or rules look at the source.
	// Each Origin costs one more question about every new destination.
	Origins []Origin
	// User, Protocol and Port tell that some rule looks at these. Flows that differ
	// only in what no rule looks at share answers.
	User, Protocol, Port bool
}

// oldest is the greatest age of an answer that is still used. It is short, because the
// kernel does not report some changes: an IPv6 route that expires, a router that is
// found dead (RFC 4191), a next-hop object that loses its link.
const oldest = time.Second

// Reacher tells which interfaces lead to a destination. It asks the kernel if it does
// not know, or if its knowledge may be out of date. It is safe for concurrent use. No
// lock is held while the kernel is asked.
type Reacher struct {
	kernel Turning
	scope  Scope
	cache  *cache
	far    [2]atomic.Pointer[farWay] // IPv4, IPv6
	start  time.Time
}

type farWay struct {
	Way
	epoch uint64
}

// NewReacher makes a Reacher without remembered answers.
func NewReacher(k *Kernel, scope Scope) *Reacher {
	return &Reacher{kernel: Turning{k, scope.Turn}, scope: scope, cache: newCache(), start: time.Now()}
}

// Reach tells by which interfaces f can be carried. If the kernel cannot be asked, no
// interface is excluded.
func (r *Reacher) Reach(f Flow) Reach {
	f.Dst = f.Dst.Unmap()
	if known, ok := r.plain(f.Dst); ok {
		return known
	}
	if !r.scope.User {
		f.User, f.UserUnknown = 0, false
	}
	if f.UserUnknown {
		return Reach{Specific: true}
	}
	if !r.scope.Protocol {
		f.Protocol = 0
	}
	if !r.scope.Port {
		f.Port = 0
	}
	epoch, now := r.kernel.Epoch(), time.Since(r.start)
	if known, ok := r.cache.get(f, epoch, now); ok {
		return known
	}
	found, err := r.ask(f)
	if err != nil {
		return Reach{}
	}
	r.cache.put(f, entry{reach: found, epoch: epoch, until: now + oldest})
	return found
}

// plain answers for destinations that no route decides about.
func (r *Reacher) plain(dst netip.Addr) (Reach, bool) {
	switch {
	case !dst.IsValid():
		return Reach{}, true
	case dst.IsLoopback() || dst.IsUnspecified(): // connecting to 0.0.0.0 or :: connects to this host
		return Reach{Specific: true, Index: r.scope.Loopback}, true
	case dst.Is6() && (dst.IsLinkLocalUnicast() || dst.IsMulticast()):
		index := 0
		if r.scope.Zone != nil {
			index = r.scope.Zone(dst.Zone())
		}
		return Reach{Specific: true, Index: index}, true
	}
	return Reach{}, false
}

func (r *Reacher) question(f Flow) Question {
	q := Question{Dst: f.Dst.WithZone(""), Protocol: f.Protocol, Port: f.Port}
	if r.scope.User {
		q.User = &f.User
	}
	return q
}

func (r *Reacher) ask(f Flow) (Reach, error) {
	q := r.question(f)
	a, err := r.kernel.Match(q)
	if err != nil {
		return Reach{}, err
	}
	if a.Verdict == Local {
		return Reach{Specific: true, Index: r.scope.Loopback}, nil
	}
	far, err := r.everywhere(f.Dst.Is6())
	switch {
	case err != nil:
		return Reach{}, err
	case alike(f.Dst, &a, &far):
		return r.like(q)
	case a.Verdict != Sent:
		return Reach{Specific: true}, nil
	}
	return r.specific(q, &a)
}

// alike tells whether a destination is reached in the same way as most others.
func alike(dst netip.Addr, a *Answer, far *Way) bool {
	if a.Verdict != Sent {
		// Without a route nothing is known against networks whose own table may have
		// one.
		return a.Verdict == NoRoute || a.Verdict == far.Verdict
	}
	if far.Verdict != Sent {
		return a.Prefix.IsValid() && a.Prefix.Bits() == 0 // half of everywhere is a way of its own
	}
	same := a.Index == far.Index && a.Gateway == far.Gateway
	if far.Shared || a.Shared() {
		same = far.Shared == a.Shared() && a.Table == far.Table
	}
	return same && (wide(a.Prefix) || !a.Prefix.IsValid() || far.Pieces && !dst.IsPrivate())
}

// like answers for destinations that are reached in the same way as most others.
func (r *Reacher) like(q Question) (Reach, error) {
	var found Reach
	for i := range r.scope.Origins {
		if err := r.try(q, &r.scope.Origins[i], &found); err != nil {
			return found, err
		}
	}
	return found, nil
}

// try finds out whether traffic from an origin leaves by its interface. If the kernel
// refuses a source, the question must be asked with that source: for a socket that is
// bound to the interface, IPv4 would otherwise take the destination for a neighbour and
// send all the same.
func (r *Reacher) try(q Question, o *Origin, found *Reach) error {
	if o.Source.Is4() != q.Dst.Is4() {
		return nil
	}
	q.Src = o.Source
	if o.Bound {
		q.Device = o.Index
	}
	a, err := r.kernel.Match(q)
	if err != nil {
		return err
	}
	if o.Bound && q.Dst.Is6() && a.Verdict == Sent && a.Index != o.Index {
		// In a question about an IPv6 source, the kernel may name another interface
		// than the one asked about, although it respects the binding of a real socket.
		// In a question without a source it respects the interface.
		q.Src = netip.Addr{}
		if a, err = r.kernel.Match(q); err != nil {
			return err
		}
	}
	if a.Verdict != Sent || a.Index != o.Index || a.Shared() {
		found.Not, found.NotFrom = append(found.Not, o.Index), append(found.NotFrom, o.Source)
	}
	return nil
}

// specific answers for destinations with a way of their own.
func (r *Reacher) specific(q Question, a *Answer) (Reach, error) {
	found := Reach{Specific: true, Index: a.Index}
	for _, h := range a.More {
		if h.Index != a.Index && !slices.Contains(found.Others, h.Index) {
			found.Others = append(found.Others, h.Index)
		}
	}
	if !a.Shared() { // with several next hops, the source depends on the connection
		source, _, err := r.kernel.Source(q)
		if err != nil {
			return found, err
		}
		found.Source = source
	}
	for _, device := range r.scope.Devices {
		if device == found.Index || slices.Contains(found.Others, device) {
			continue
		}
		on := q
		on.Device = device
		// The same network on another interface leads there as well. A wider network
		// does not, because the kernel prefers the narrower one.
		b, err := r.kernel.Match(on)
		if err != nil {
			return found, err
		}
		if b.Verdict == Sent && b.Index == device && !b.Shared() && b.Prefix == a.Prefix && b.Table == a.Table {
			found.Others = append(found.Others, device)
		}
	}
	for i := range r.scope.Origins {
		o := &r.scope.Origins[i]
		if o.Index != found.Index && !slices.Contains(found.Others, o.Index) {
			continue
		}
		if err := r.try(q, o, &found); err != nil {
			return found, err
		}
	}
	return found, nil
}

// everywhere returns the way of most destinations. It asks again after each change.
func (r *Reacher) everywhere(v6 bool) (Way, error) {
	slot := &r.far[0]
	if v6 {
		slot = &r.far[1]
	}
	epoch := r.kernel.Epoch()
	if w := slot.Load(); w != nil && w.epoch == epoch && (w.Until.IsZero() || time.Now().Before(w.Until)) {
		return w.Way, nil
	}
	w, err := r.scope.Everywhere.Far(r.kernel, v6, Question{})
	if err != nil {
		return Way{}, err
	}
	slot.Store(&farWay{w, epoch})
	return w, nil
}
