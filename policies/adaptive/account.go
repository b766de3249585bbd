package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policy"
)

// share is the part of the time of transfers that exploring is expected to cost. The
// README promises at most a twentieth. share is less, because a try may cost more than
// expected.
const share = 0.03

// account is a user's regret account: what exploring has cost so far, and what it may
// cost. All fields are in seconds.
type account struct {
	spent float64 // time of the transfers that have ended
	lost  float64 // time lost by those that explored, compared with the best network's prediction
	risk  float64 // time that running transfers may lose
}

// allows tells whether the account allows one more loss.
func (a *account) allows(loss float64) bool { return a.lost+a.risk+loss <= share*a.spent }

// settle books a transfer that has ended. alone is the time that the best network was
// predicted to take, and risk is what was risked with the transfer, 0 if nothing.
func (a *account) settle(took time.Duration, alone, risk float64) {
	a.spent += took.Seconds()
	if risk > 0 {
		a.risk = max(0, a.risk-risk)
		a.lost += max(0, took.Seconds()-alone)
	}
}

// explore returns the candidate to choose. That is the best one, or one that may be
// better than believed, if the user's account allows the expected loss.
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
