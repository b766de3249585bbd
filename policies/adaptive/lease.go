package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// leaseUses is how many further transfers a lease is for where there is a choice: a
// page's worth, as many as may be under way when the next measurement comes.
const leaseUses = 16

// lease is that of the decision for chosen. Each decision weighs the transfers that
// those before it have placed, so there is a lease only where these cannot matter: with
// one candidate, and for what fits a first window, if the best network stays the best
// one with leaseUses more of the same under way there and nothing under way elsewhere.
func (p *Policy) lease(chosen, best *candidate, n need) policy.Lease {
	if len(p.cands) == 1 {
		return shape.Lease()
	}
	if chosen != best || n.size > predict.InitialWindow {
		return policy.Lease{}
	}
	top := 0.0
	for i := range p.cands {
		c := &p.cands[i]
		if !c.estimate.rttKnown || c.unproven || c.hope < c.cost || c.link.doubted() {
			return policy.Lease{} // it may be given a try at any time
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
	// Learnt sizes and windows are the destination's, and all intents say something
	// of the size or of the weight.
	return policy.Lease{For: shape.MeasuredFor, Uses: leaseUses, Measured: true}
}

// suspected is what a suspect network costs more.
func (c *candidate) suspected() float64 {
	if c.prefix.Health.State != policy.Up {
		return suspicion.Seconds()
	}
	return 0
}

// crowded is the outlook of x after n others like it were added.
func (l *link) crowded(x transfer, n int, s *sharing) outlook {
	before := len(l.transfers)
	for range n {
		l.transfers = append(l.transfers, x)
	}
	o := l.preview(x, s)
	l.transfers = l.transfers[:before]
	return o
}

// alone is how long x would take with nothing else under way.
func (l *link) alone(x transfer) time.Duration {
	return x.begin - l.now + seconds(x.left/min(x.most, l.capacity)) - 1
}

// Leased notes transfers that were placed by a lease.
func (p *Policy) Leased(token uint64, uses uint32, now time.Time) {
	if token == 0 {
		return
	}
	p.links.Each(func(l *link) *link {
		x, ok := l.find(token)
		if !ok {
			return l
		}
		x.token, x.over = 0, 0 // its reports are those of the first
		at := l.at(now)
		x.until += at - x.asked
		x.begin, x.asked, x.left, x.risk = at+x.trips0, at, x.wire, 0
		for range min(uses, maxTransfers) {
			l.add(x)
		}
		return l
	})
}

// find returns the transfer of a token, if it is remembered.
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

// Revoke tells whether something was learnt from a transfer that ended.
func (p *Policy) Revoke() bool {
	learnt := p.learnt
	p.learnt = false
	return learnt
}
