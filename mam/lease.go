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

// leases tells clients when what they were told holds no longer. Its zero value grants
// none.
type leases struct {
	page *generation.Own // nil: none are granted
	uses atomic.Uint64   // connections that clients made by leases

	// publishing is held while a View is published. It guards what follows.
	publishing sync.Mutex
	networks   map[policy.PrefixID]wire.Generation
	free       []uint32 // indices of networks that are gone
	next       uint32   // the first that was never used
}

// seen are the generations as of the moment that a decision began.
type seen struct{ view, measurements uint64 }

// now is read before anything that the decision depends on: what changes after that
// makes the lease void before it is granted.
func (l *leases) now() seen {
	if l.page == nil {
		return seen{}
	}
	return seen{l.page.Load(generation.View), l.page.Load(generation.Measurements)}
}

// VoidLeases makes all leases void that were granted so far. To be called when something
// has changed that no View shows, as the kernel's routes. It does not block and is safe
// for concurrent use.
func (m *Manager) VoidLeases() {
	if p := m.leases.page; p != nil {
		p.Raise(generation.View)
	}
}

// revoke makes those leases void that depend on measurements.
func (m *Manager) revoke() {
	if p := m.leases.page; p != nil {
		p.Raise(generation.Measurements)
	}
}

// LeasedConnections tells how many connections clients have made by leases, without
// asking, as far as they have told.
func (m *Manager) LeasedConnections() uint64 { return m.leases.uses.Load() }

// changes is how one View differs from the one before, as far as leases go.
type changes struct {
	view         bool              // more than what follows
	measurements bool              // something was measured
	worse        []policy.PrefixID // networks that work less well
	next         []wire.Generation // what is to be stored
}

// prepare gives the networks of v their generations, and finds out which leases end
// with it.
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
			c.view = true // it has no generation of its own
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

// index is the generation of a new network. Where there are more networks than a page has
// room for, some have none of their own: all leases end when they fail.
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

// tell ends the leases that c says are over. By then the new View must be there to
// decide on: who finds a lease void asks at once.
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

// compare finds what decisions depend on that differs. A network that has become worse
// concerns the leases on it, and those that depend on measurements: to others it is one
// alternate less. Anything else may lead to other decisions.
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

// alike tells whether two Views are the same but for their prefixes.
func alike(a, b *View) bool {
	return a.Runner == b.Runner && a.Epoch == b.Epoch && a.AvoidMetered == b.AvoidMetered && a.NoMultipath == b.NoMultipath &&
		maps.Equal(a.Devices, b.Devices) && maps.Equal(a.Extents, b.Extents) &&
		maps.EqualFunc(a.Avoid, b.Avoid, slices.Equal) && maps.EqualFunc(a.NameServers, b.NameServers, slices.Equal)
}

// sameSettings compares what does not come from measuring.
func sameSettings(a, b *policy.Prefix) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Index == b.Index && a.Default == b.Default && a.Cost == b.Cost &&
		slices.Equal(a.Addrs, b.Addrs) && maps.Equal(a.Options, b.Options)
}

// sameFigures compares what comes from measuring, but for when it was measured.
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

// grant puts the lease of the decision into the answer, if the policy gives one that can
// hold.
func (c *conn) grant() {
	rq, msg := c.req, &c.msg
	d := &rq.decision
	l := &d.Lease
	switch {
	case c.m.leases.page == nil, c.features&wire.FeatureLeases == 0, l.For <= 0:
		return
	case rq.fallback != "", d.Multipath, d.Race, rq.asked.Bound.IsValid():
		return
	case rq.line != "", c.m.opts.OnCall != nil: // somebody wants to see each decision
		return
	case rq.named && !msg.NoResolve: // addresses have a life of their own
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

// budgeted tells whether the answer says what is left of a budget, which is measured.
func (rq *request) budgeted(over *policy.Prefix) bool {
	limited := func(p *policy.Prefix) bool { return p != nil && p.Budget.Limit > 0 }
	return limited(over) || slices.ContainsFunc(rq.decision.Alternates, limited)
}

// generation is that of a network; of none, and of one without, it is of nothing.
func (v *View) generation(p *policy.Prefix) wire.Generation {
	if p == nil {
		return wire.Generation{}
	}
	return v.generations[p.ID]
}

// leased notes what the client tells of connections by leases, which may be anything.
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
		if rec.Decision.Token != 0 {
			observe(c.m, c.m.View(), func(o policy.LeaseObserver) { o.Leased(rec.Decision.Token, u.Uses, now) })
		}
	}
	c.msg.Lease, c.msg.Leased = nil, list[:0]
}
