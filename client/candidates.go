package client

import (
	"net/netip"
	"slices"
	"time"
)

// Candidates returns what the manager has suggested and the SelectionProperties
// permit, the best first, each as a Decision of its own. The Dial of such a Decision
// tries that candidate alone, without Multipath TCP: it is for programs that use
// several networks at once. There is none where the manager did not decide, or
// suggested nothing that tells networks apart.
//
// If the decision was to reuse a connection, there is none either: Decide is to be
// called without idle connections then.
func (dec *Decision) Candidates() []*Decision {
	if dec.plan == nil {
		return nil
	}
	var list []*Decision
	for _, c := range dec.plan.candidates {
		if !c.local.IsValid() && c.device == "" {
			continue
		}
		sole, p := *c, *dec.plan
		sole.race, sole.multipath = false, false
		p.candidates, p.refused, p.target.sole = []*candidate{&sole}, nil, true
		t := dec.target
		t.sole, t.only = true, p.target.only
		list = append(list, &Decision{dialer: dec.dialer, target: t, plan: &p})
	}
	return slices.Clip(list)
}

// Interface is the name of the interface that a new connection leaves by, as far as
// Device or Source tell; "" if it is not known.
func (dec *Decision) Interface() string {
	c := dec.first()
	return dec.target.siteOf(c, netip.Addr{}).device
}

// RTT is the round-trip time of the way of a new connection, as the manager has
// measured it; 0 if it is not known.
func (dec *Decision) RTT() time.Duration { return dec.first().rtt }

// Cost is what traffic over a new connection costs. It is not ok where the manager does
// not tell.
func (dec *Decision) Cost() (c Cost, ok bool) { return dec.first().cost, dec.first().priced }

// Budget is how many bytes of its network's budget are left to a new connection. It
// is not ok if there is no budget, or if none is known.
func (dec *Decision) Budget() (left int64, ok bool) {
	c := dec.first()
	return c.budget, c.limited
}
