package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policy"
)

// share is the part of the time spent that exploring may be expected to cost. It is below the
// twentieth that is promised, as a try may cost more than expected.
const share = 0.03

// account is the regret account: what exploring has cost, and what it may. Seconds.
type account struct {
	spent float64 // time of the transfers that ended
	lost  float64 // by those that explored, beyond what the best network was thought to take
	risk  float64 // of those that go on
}

// allows tells whether a loss can be risked.
func (a *account) allows(loss float64) bool { return a.lost+a.risk+loss <= share*a.spent }

// settle takes a transfer that ended, with what it was thought to take over the best
// network and what was risked with it, 0 if nothing.
func (a *account) settle(took time.Duration, alone, risk float64) {
	a.spent += took.Seconds()
	if risk > 0 {
		a.risk = max(0, a.risk-risk)
		a.lost += max(0, took.Seconds()-alone)
	}
}

// explore returns the candidate to choose: the best, or one that may be better than
// it is thought to be, if the user's account allows the loss that is to be expected.
func (p *Policy) explore(best *candidate, account *account) *candidate {
	if best.prefix.Cost != policy.Free {
		return best
	}
	for i := range p.cands {
		c := &p.cands[i]
		if c == best || c.prefix.Cost != policy.Free || c.hope >= best.cost || !account.allows(c.cost-best.cost) {
			continue
		}
		c.risk = max(c.cost-best.cost, 1e-3)
		account.risk += c.risk
		return c
	}
	return best
}
