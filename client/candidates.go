package client

import (
	"net/netip"
	"slices"
	"time"
)

// Candidates returns the manager's suggestions that the SelectionProperties permit,
// best first, each as a Decision of its own. The Dial of such a Decision tries only
// that one candidate, without Multipath TCP. Programs that use several networks at once
// need this. The result is empty if the manager did not decide, or if its suggestions
// do not name networks.
//
// The result is also empty if the decision was to reuse a connection. To avoid that,
// call Decide without idle connections.
func (dec *Decision) Candidates() []*Decision {
	if dec.plan == nil {
		return nil
	}
	var list []*Decision
	for _, c := range dec.plan.candidates {
		if !c.local.IsValid() && c.device == "" {
			continue
		}
		t := dec.target
		t.sole, t.only = true, dec.plan.target.only
		list = append(list, &Decision{dialer: dec.dialer, target: t, plan: dec.plan.with(c)})
	}
	return slices.Clip(list)
}

// with returns a plan that tries only candidate c, without Multipath TCP.
func (p *plan) with(c *candidate) *plan {
	sole, q := *c, *p
	sole.race, sole.multipath = false, false
	q.candidates, q.refused, q.target.sole = []*candidate{&sole}, nil, true
	return &q
}

// Interface is the name of the interface that a new connection leaves by. It is found
// from Device or Source; "" if neither tells.
func (dec *Decision) Interface() string {
	c := dec.first()
	return dec.target.siteOf(c, netip.Addr{}).device
}

// RTT is the round-trip time that the manager has measured on the path of a new
// connection; 0 if it is not known.
func (dec *Decision) RTT() time.Duration { return dec.first().rtt }

// Cost is what traffic over a new connection costs. ok is false if the manager does not
// tell.
func (dec *Decision) Cost() (c Cost, ok bool) { return dec.first().cost, dec.first().priced }

// Budget is the number of bytes that the network's budget still allows to a new
// connection. ok is false if there is no budget, or if what is left is unknown.
func (dec *Decision) Budget() (left int64, ok bool) {
	c := dec.first()
	return c.budget, c.limited
}
