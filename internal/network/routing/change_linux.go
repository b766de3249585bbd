package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// change asks the kernel to make a change.
func (k *Kernel) change(kind mdnetlink.HeaderType, flags mdnetlink.HeaderFlags, body []byte) error {
	if err := k.conn.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	_, err := k.conn.Execute(mdnetlink.Message{
		Header: mdnetlink.Header{Type: kind, Flags: mdnetlink.Request | mdnetlink.Acknowledge | flags}, Data: body,
	})
	if e := (*mdnetlink.OpError)(nil); errors.As(err, &e) {
		return e.Err // the cause alone, without the library's words
	}
	return err
}

// firstObject is the lowest identifier of our next-hop objects. Identifiers of other
// programs are low, or the kernel chooses the lowest free ones.
const firstObject = 7700000

// objects finds or makes the next-hop objects for routes that must be kept apart.
// Without objects IPv6 would join all routes with the same destinations and metric into
// one (ECMP).
func (p *pass) objects(routes []Route) error {
	p.present, p.wanted = map[oracle.Hop]int{}, map[oracle.Hop]int{}
	used := map[int]bool{}
	if err := p.kernel.tables.Objects(func(o oracle.Object) {
		used[o.ID] = true
		if o.Protocol == Protocol && o.Index != 0 && o.ID >= firstObject {
			p.present[o.Hop] = o.ID
		}
	}); err != nil && !errors.Is(err, oracle.ErrInterrupted) {
		return fmt.Errorf("reading next-hop objects: %w", err)
	}
	id := firstObject
	for i := range routes {
		r := &routes[i]
		if !r.Apart || r.Object != 0 || len(r.Hops) != 1 || !r.Hops[0].Gateway.IsValid() {
			continue
		}
		hop := r.Hops[0].Hop
		if known, ok := p.present[hop]; ok {
			p.wanted[hop] = known
			continue
		}
		for used[id] {
			id++
		}
		o := oracle.Object{ID: id, Protocol: Protocol, Step: r.Hops[0]}
		made := false
		p.do("adding next-hop object", o, func() error {
			err := p.kernel.change(unix.RTM_NEWNEXTHOP, mdnetlink.Create|mdnetlink.Excl, o.Append(nil))
			made, p.noObjects = err == nil, errors.Is(err, unix.EOPNOTSUPP)
			return err
		}, unix.EOPNOTSUPP)
		if p.noObjects {
			return nil
		}
		if made {
			used[id] = true
			p.present[hop], p.wanted[hop] = id, id
		}
	}
	return nil
}

// removeObjects removes the objects that no route needs any more. If routes still use
// one, the kernel removes them with it.
func (p *pass) removeObjects() {
	for _, id := range slices.Sorted(maps.Values(p.present)) {
		if !slices.Contains(slices.Collect(maps.Values(p.wanted)), id) {
			o := oracle.Object{ID: id}
			p.do("removing next-hop object", id, func() error { return p.kernel.change(unix.RTM_DELNEXTHOP, 0, o.Name()) }, unix.ENOENT)
		}
	}
}

// possible leaves only the preferred one of routes that must be kept apart, if the
// kernel has no next-hop objects (before Linux 5.3).
func (p *pass) possible(plan []Route) []Route {
	if !p.noObjects {
		return plan
	}
	var out []Route
	for _, r := range plan {
		last := len(out) - 1
		switch {
		case last < 0 || !r.Apart || out[last].Slot() != r.Slot():
			out = append(out, r)
		case rank(r.Preference) > rank(out[last].Preference):
			out[last] = r
		}
	}
	for i := range out {
		out[i].Apart = false
	}
	return out
}

// rank orders the preferences of routers (RFC 4191, section 2.1).
func rank(preference uint8) int {
	const high, low = 1, 3
	switch preference {
	case high:
		return 1
	case low:
		return -1
	}
	return 0
}

// written returns the route in the form in which it is written. A route that must be
// kept apart is written with an object.
func (p *pass) written(r *Route) oracle.Route {
	w := r.Route
	if r.Apart && w.Object == 0 && len(w.Hops) == 1 {
		w.Object = p.wanted[w.Hops[0].Hop]
	}
	return w
}

// sameEnd is how far the ends of a route and of its copy may lie apart.
const sameEnd = 3 * time.Second

// addRoutes writes missing routes, and routes whose lifetime has changed.
func (p *pass) addRoutes(plan []Route, has []oracle.Route) {
	there := map[string]time.Duration{}
	for i := range has {
		there[has[i].Key()] = has[i].Expires
	}
	for i := range plan {
		r := p.written(&plan[i])
		if left, ok := there[r.Key()]; ok && (left == 0) == (r.Expires == 0) && (left-r.Expires).Abs() <= sameEnd {
			continue
		}
		// Replacing leaves no moment without a route when a gateway changes. It must
		// not be used for IPv6 routes beside each other, since it would remove the
		// others.
		flags := mdnetlink.Create | mdnetlink.Replace
		if plan[i].Apart {
			flags = mdnetlink.Create | mdnetlink.Append
		}
		p.do("adding route", r, func() error { return p.kernel.change(unix.RTM_NEWROUTE, flags, r.Append(nil)) }, unix.EEXIST)
	}
}

// removeRoutes removes routes that are not wanted, apart from those that were replaced.
func (p *pass) removeRoutes(plan []Route, has []oracle.Route) {
	want, replaced := map[string]bool{}, map[oracle.Slot]bool{}
	for i := range plan {
		r := p.written(&plan[i])
		want[r.Key()] = true
		replaced[r.Slot()] = !plan[i].Apart
	}
	for i := range has {
		r := &has[i]
		// A route with an object is named by the object, so no other route can be
		// meant.
		if want[r.Key()] || replaced[r.Slot()] && r.Object == 0 {
			continue
		}
		p.do("removing route", *r, func() error { return p.kernel.change(unix.RTM_DELROUTE, 0, r.Append(nil)) }, unix.ESRCH, unix.ENODEV)
	}
}
