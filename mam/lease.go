package mam

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// leases tells clients when an earlier decision no longer holds. The zero value grants
// no leases.
type leases struct {
	page *generation.Own // nil: no leases are granted
	uses atomic.Uint64   // connections that clients made by leases

	// publishing is held while a View is published. It guards the fields below.
	publishing sync.Mutex
	networks   map[policy.PrefixID]wire.Generation
	free       []uint32 // indices that networks had which are gone
	next       uint32   // the first index that was never used
}

// seen holds the generations as they were when work on a decision began.
type seen struct{ view, measurements uint64 }

// now must be called before the decision reads any state. A change after the call then
// makes the lease void before it is granted, and none is missed.
func (l *leases) now() seen {
	if l.page == nil {
		return seen{}
	}
	return seen{l.page.Load(generation.View), l.page.Load(generation.Measurements)}
}

// VoidLeases ends all leases granted so far. Call it after a change that no View shows,
// such as one of the kernel's routes. It does not block and is safe for concurrent use.
func (m *Manager) VoidLeases() {
	if p := m.leases.page; p != nil {
		p.Raise(generation.View)
	}
}

// revoke ends the leases that depend on measurements.
func (m *Manager) revoke() {
	if p := m.leases.page; p != nil {
		p.Raise(generation.Measurements)
	}
}

// LeasedConnections tells how many connections clients have made by leases, without a
// request each. Clients report them late, so the number may lag.
func (m *Manager) LeasedConnections() uint64 { return m.leases.uses.Load() }

// changes says which leases end when a new View replaces the one before.
type changes struct {
	view         bool              // all leases end
	measurements bool              // something was measured
	worse        []policy.PrefixID // networks that work less well
	next         []wire.Generation // generations to store
}

// prepare assigns a generation to each network of v, and finds out which leases end
// when v becomes current.
func (l *leases) prepare(old, v *View) changes {
	if l.page == nil {
		return changes{}
	}
	c := compare(old, v)
	if l.networks == nil {
		l.networks, l.next = map[policy.PrefixID]wire.Generation{}, generation.FirstNetwork
	}
	there := make(map[policy.PrefixID]bool, len(v.Prefixes))
	v.generations = make(map[policy.PrefixID]wire.Generation, len(v.Prefixes))
	for _, p := range v.Prefixes {
		there[p.ID] = true
		g, known := l.networks[p.ID]
		if !known {
			g = l.index()
		} else if slices.Contains(c.worse, p.ID) && g.Index != generation.View {
			g.Value++
			c.next = append(c.next, g)
		}
		if g.Index == generation.View && slices.Contains(c.worse, p.ID) {
			c.view = true // the network shares this generation, having none of its own
		}
		l.networks[p.ID] = g
		v.generations[p.ID] = g
	}
	for id, g := range l.networks {
		if there[id] {
			continue
		}
		delete(l.networks, id)
		if g.Index != generation.View {
			g.Value++
			c.next = append(c.next, g)
			l.free = append(l.free, g.Index)
		}
	}
	return c
}

// index returns the generation for a new network. If the page has no room left, the
// network gets no generation of its own, and a failure of it ends all leases.
func (l *leases) index() wire.Generation {
	n := len(l.free)
	switch {
	case n > 0:
		i := l.free[n-1]
		l.free = l.free[:n-1]
		return wire.Generation{Index: i, Value: l.page.Load(i)}
	case l.next < generation.Words:
		l.next++
		return wire.Generation{Index: l.next - 1, Value: l.page.Load(l.next - 1)}
	}
	return wire.Generation{}
}

// tell ends the leases named by c. The new View must already be current: a client that
// finds its lease void asks again at once, and must not get a decision on the old View.
func (l *leases) tell(c changes) {
	if l.page == nil {
		return
	}
	for _, g := range c.next {
		l.page.Store(g.Index, g.Value)
	}
	if c.view {
		l.page.Raise(generation.View)
	}
	if c.measurements || len(c.worse) > 0 {
		l.page.Raise(generation.Measurements)
	}
}

// compare finds the differences that decisions depend on. If only the health of a
// network got worse, two kinds of leases end: those on that network, and those that
// depend on measurements. All others merely lose one alternate and stay valid. Any
// other difference may change every decision, so it ends all leases.
func compare(old, v *View) changes {
	c := changes{view: !alike(old, v)}
	if c.view || len(old.Prefixes) != len(v.Prefixes) {
		c.view, c.measurements = true, true
		return c
	}
	for i, p := range v.Prefixes {
		q := old.Prefixes[i]
		if !sameSettings(q, p) || p.Health.State < q.Health.State {
			c.view, c.measurements = true, true
			return c
		}
		if p.Health.State > q.Health.State {
			c.worse = append(c.worse, p.ID)
		}
		c.measurements = c.measurements || !sameFigures(q, p)
	}
	return c
}

// alike tells whether two Views are the same apart from their prefixes.
func alike(a, b *View) bool {
	return a.Runner == b.Runner && a.Epoch == b.Epoch && a.AvoidMetered == b.AvoidMetered && a.NoMultipath == b.NoMultipath &&
		maps.Equal(a.Devices, b.Devices) && maps.Equal(a.Extents, b.Extents) &&
		maps.EqualFunc(a.Avoid, b.Avoid, slices.Equal) && maps.EqualFunc(a.NameServers, b.NameServers, slices.Equal)
}

// sameSettings compares the fields of a prefix that are not measured.
func sameSettings(a, b *policy.Prefix) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Index == b.Index && a.Default == b.Default && a.Cost == b.Cost &&
		slices.Equal(a.Addrs, b.Addrs) && maps.Equal(a.Options, b.Options)
}

// sameFigures compares the measured fields of a prefix. The times of measurement are
// left out.
func sameFigures(a, b *policy.Prefix) bool {
	sa, sb, la, lb := a.Stats, b.Stats, a.Link, b.Link
	sa.Time, sa.SampleTime, la.Time = sb.Time, sb.SampleTime, lb.Time
	if sa != sb || la != lb || a.Budget != b.Budget || (a.Wifi == nil) != (b.Wifi == nil) {
		return false
	}
	if a.Wifi == nil {
		return true
	}
	wa := *a.Wifi
	wa.Time = b.Wifi.Time
	return wa == *b.Wifi
}

// grant puts the decision's lease into the answer. It grants nothing if the policy gave
// no lease or if the lease could not hold.
func (c *conn) grant() {
	rq, msg := c.req, &c.msg
	d := &rq.decision
	l := &d.Lease
	switch {
	case c.m.leases.page == nil, c.features&wire.FeatureLeases == 0, l.For <= 0:
		return
	case rq.fallback != "", d.Multipath, d.Race, rq.asked.Bound.IsValid():
		return
	case rq.line != "", c.m.opts.OnCall != nil: // the log or OnCall must see each decision
		return
	case rq.named && !msg.NoResolve: // addresses of a name expire on their own
		return
	}
	over := d.Prefix
	if d.Socket != nil {
		over = d.Socket.Prefix
	}
	msg.Lease = &wire.Lease{
		Milliseconds: uint32(min(l.For.Milliseconds(), math.MaxUint32)), Uses: l.Uses, Bytes: l.Bytes,
		Ignored: uint32(l.Ignored), SizeFrom: l.Sizes.From, SizeTo: l.Sizes.To,
		View: rq.seen.view, Networks: []wire.Generation{rq.view.generation(over)},
	}
	if l.AnyName && rq.named {
		msg.Lease.Flags |= wire.LeaseAnyName
	}
	if l.Measured || c.features&wire.FeatureCosts != 0 && rq.budgeted(over) {
		msg.Lease.Measurements = rq.seen.measurements
	}
	for i := range msg.Alternates {
		msg.Lease.Networks = append(msg.Lease.Networks, rq.view.generation(d.Alternates[i]))
	}
}

// budgeted tells whether the answer contains what is left of a budget. That amount is
// measured, so the lease then depends on measurements.
func (rq *request) budgeted(over *policy.Prefix) bool {
	limited := func(p *policy.Prefix) bool { return p != nil && p.Budget.Limit > 0 }
	return limited(over) || slices.ContainsFunc(rq.decision.Alternates, limited)
}

// generation returns the generation of p's network. The zero value stands for no
// network, and for a network that has none of its own.
func (v *View) generation(p *policy.Prefix) wire.Generation {
	if p == nil {
		return wire.Generation{}
	}
	return v.generations[p.ID]
}

// leased counts the connections that the client says it made by leases. A client may
// claim anything. That changes only decisions of its own user, and the count for people.
func (c *conn) leased() {
	list := c.msg.Leased
	now := time.Now()
	for i := range list {
		u := &list[i]
		if u.Uses == 0 && u.Connected == 0 {
			continue
		}
		c.m.leases.uses.Add(uint64(u.Uses))
		rec, ok := c.m.ring.used(u, c.app.UID)
		if !ok {
			continue
		}
		if c.m.opts.OnLeased != nil {
			c.m.opts.OnLeased(&rec, u.Uses)
		}
		if u.Connected > 0 && c.m.opts.OnReport != nil {
			c.m.opts.OnReport(rec)
		}
		if v := c.m.View(); rec.Decision.Token != 0 && v.Runner != nil && v.Runner.self == rec.Decider {
			observe(c.m, v, func(o policy.LeaseObserver) { o.Leased(rec.Decision.Token, u.Uses, now) })
		}
	}
	c.msg.Lease, c.msg.Leased = nil, list[:0]
}
