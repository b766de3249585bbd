package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/policy"
)

// tryShare is the part of a network's budget that tries of all users together may use up
// between two resets of the budget.
const tryShare = 0.01

// tried is how many bytes tries were to bring over a network with a budget.
type tried struct {
	bytes float64
	reset time.Time // that of the budget which they belong to
}

// affords tells whether so many bytes may go over q only to learn something. If traffic
// costs money or is limited, they must fit into what is left of the budget, and into what
// tries may use of it. A network without a budget that costs money affords nothing.
func (l *link) affords(q *policy.Prefix, bytes float64) bool {
	b := &q.Budget
	switch {
	case q.Cost == policy.Free && b.Limit == 0:
		return true
	case q.Cost > policy.Metered || b.Limit == 0:
		return false
	}
	used := 0.0
	if l.tried.reset.Equal(b.Reset) {
		used = l.tried.bytes
	}
	return used+bytes <= tryShare*float64(b.Limit) && bytes <= float64(b.Limit-min(b.Limit, b.Used))
}

// pay books bytes that affords has allowed.
func (l *link) pay(q *policy.Prefix, bytes float64) {
	if q.Budget.Limit == 0 {
		return
	}
	if !l.tried.reset.Equal(q.Budget.Reset) {
		l.tried = tried{reset: q.Budget.Reset}
	}
	l.tried.bytes += bytes
}

// share is the part of the time of transfers that exploring is expected to cost. The
// README promises at most a twentieth. share is less, because a try may cost more than
// expected.
const share = 0.03

// account is a user's regret account: what exploring has cost so far, and what it may
// cost. All fields are in seconds.
type account struct {
	spent float64   // time of the transfers that have ended; where they overlap it counts once
	until time.Time // end of the latest of these
	lost  float64   // time lost by those that explored, compared with the best network's prediction
	risk  float64   // time that running transfers may lose
}

// allows tells whether the account allows one more loss.
func (a *account) allows(loss float64) bool { return a.lost+a.risk+loss <= share*a.spent }

// settle books a transfer that ended then. alone is the time that the best network was
// predicted to take, and risk is what was risked with the transfer, 0 if nothing.
func (a *account) settle(took time.Duration, end time.Time, alone, risk float64) {
	if more := end.Sub(a.until); more > 0 {
		a.spent += min(took, more).Seconds()
		a.until = end
	}
	if risk > 0 {
		a.risk = max(0, a.risk-risk)
		a.lost += max(0, took.Seconds()-alone)
	}
}

// justTried tells whether a try began a moment ago. A second one would tell nothing more.
func (l *link) justTried() bool { return l.triedAt > 0 && l.now-l.triedAt < doubtful }

// explore returns the candidate to choose. That is the best one, or one that may be
// better than believed, if the user's account allows the expected loss and the network
// affords the bytes.
func (p *Policy) explore(best *candidate, account *account) *candidate {
	for i := range p.cands {
		c := &p.cands[i]
		if c == best || c.hope >= best.cost || c.link.justTried() || !account.allows(c.feared-best.cost) || !c.link.affords(c.prefix, c.transfer.wire) {
			continue
		}
		c.link.pay(c.prefix, c.transfer.wire)
		c.link.triedAt = c.link.now
		c.risk = max(c.feared-best.cost, 1e-3)
		account.risk += c.risk
		return c
	}
	return best
}
