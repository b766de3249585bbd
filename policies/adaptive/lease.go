package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// leaseUses is how many further transfers a lease allows if there is a choice. It is
// about a web page's worth, as many as may be under way before the next measurement.
const leaseUses = 16

// lease returns the lease of the decision for chosen. Each decision depends on the
// transfers that earlier decisions have placed, so there is a lease only if these
// cannot matter. That is so with a single candidate. It is also so for a transfer that
// fits a first window, if two conditions hold. The best network would stay the best
// with leaseUses more such transfers on it and nothing under way elsewhere. And so many
// transfers are not too much for a network that is still to be tried.
func (p *Policy) lease(chosen, best *candidate, n need) policy.Lease {
	if len(p.cands) == 1 {
		return shape.Lease()
	}
	if chosen != best || n.size > predict.InitialWindow || p.trust() && best.beyondTrial(1+leaseUses) {
		return policy.Lease{}
	}
	top := 0.0
	for i := range p.cands {
		c := &p.cands[i]
		if !c.estimate.rttKnown || c.unproven || c.hope < c.cost || c.link.doubted() {
			return policy.Lease{} // the policy may want to try another network at any time
		}
		top = max(top, c.estimate.capacity)
	}
	worst := best.weighed(best.link.crowded(best.transfer, leaseUses, &p.sharing), best.estimate.capacity, top, n) + best.suspected()
	for i := range p.cands {
		c := &p.cands[i]
		if c == best {
			continue
		}
		if least := c.weighed(outlook{finish: c.link.alone(c.transfer)}, c.estimate.capacity, top, n) + c.suspected(); least <= worst {
			return policy.Lease{}
		}
	}
	// The lease is for one destination and the same intents: learnt sizes and windows
	// belong to a destination, and every intent affects size or weight.
	return policy.Lease{For: shape.MeasuredFor, Uses: leaseUses, Measured: true}
}

// suspected returns the extra cost of a suspect network.
func (c *candidate) suspected() float64 {
	if c.prefix.Health.State != policy.Up {
		return suspicion.Seconds()
	}
	return 0
}

// crowded returns the outlook of x after n more transfers like it.
func (l *link) crowded(x transfer, n int, s *sharing) outlook {
	before := len(l.transfers)
	for range n {
		l.transfers = append(l.transfers, x)
	}
	o := l.preview(x, s)
	l.transfers = l.transfers[:before]
	return o
}

// alone returns the time of x if nothing else is under way.
func (l *link) alone(x transfer) time.Duration {
	return x.begin - l.now + seconds(x.left/min(x.most, l.capacity)) - 1
}

// Leased notes transfers that clients placed by a lease.
func (p *Policy) Leased(token uint64, uses uint32, now time.Time) {
	if token == 0 {
		return
	}
	p.links.Each(func(l *link) *link {
		x, ok := l.find(token)
		if !ok {
			return l
		}
		x.token, x.over = 0, 0 // reports about it would be taken for those of the first transfer
		at := l.at(now)
		x.until += at - x.asked
		x.begin, x.asked, x.left, x.risk = at+x.trips0, at, x.wire, 0
		for range min(uses, maxTransfers) {
			l.add(x)
		}
		return l
	})
}

// find returns the transfer with this token, and whether it is remembered.
func (l *link) find(token uint64) (transfer, bool) {
	for _, list := range [][]transfer{l.transfers, l.ended} {
		for _, x := range list {
			if x.token == token {
				return x, true
			}
		}
	}
	return transfer{}, false
}

// Revoke tells whether something was learnt from a finished transfer since the last
// call.
func (p *Policy) Revoke() bool {
	learnt := p.learnt
	p.learnt = false
	return learnt
}
