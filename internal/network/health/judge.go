package health

import (
	"fmt"
	"math"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Report is the judgement at one moment. It shares no memory with the Tracker.
type Report struct {
	Health map[policy.PrefixID]policy.Health
	// Claimed holds the prefixes that are down only because users say so. Programs can
	// report anything.
	Claimed map[policy.PrefixID]bool
	// Avoid lists, by user id, the prefixes that this user should be offered only if
	// nothing else is left.
	Avoid map[uint32][]policy.PrefixID
	// Doubtful lists the prefixes whose links work but against which other evidence
	// speaks. A probe would settle the doubt. A statement of a service or of the
	// network itself calls for one probe only. If probes cost something, there is none
	// while another prefix is up.
	Doubtful []policy.PrefixID
	// Next is the time when the judgement may change without new evidence; zero: never.
	Next time.Time
}

// Report judges all prefixes.
func (t *Tracker) Report(now time.Time) Report {
	r := Report{Health: map[policy.PrefixID]policy.Health{}}
	var told []policy.PrefixID // of doubts that call for a probe
	for id, p := range t.prefixes {
		if !p.gone.IsZero() {
			continue
		}
		p.age(now, &r)
		state, reason := p.judge()
		if state != p.health.State || reason != p.health.Reason || p.health.Since.IsZero() {
			p.health = policy.Health{State: state, Reason: reason, Since: now}
		}
		r.Health[id] = p.health
		if state == policy.Down && p.claimed() {
			if r.Claimed == nil {
				r.Claimed = map[policy.PrefixID]bool{}
			}
			r.Claimed[id] = true
		}
		for uid, d := range p.users {
			if now.Before(d.until) {
				if r.Avoid == nil {
					r.Avoid = map[uint32][]policy.PrefixID{}
				}
				r.Avoid[uid] = append(r.Avoid[uid], id)
			}
		}
		switch {
		case !p.usable():
		case len(p.users) > 0 || p.stalled && !p.proven || p.probeFails > 0:
			r.Doubtful = append(r.Doubtful, id)
		case !p.probed && (p.net.Doubt != "" || p.net.Portal != ""):
			told = append(told, id)
		}
	}
	for _, id := range told {
		if !t.prefixes[id].net.Costs || !r.upBeside(id) {
			r.Doubtful = append(r.Doubtful, id)
		}
	}
	return r
}

// upBeside tells whether a prefix of another interface is up, for the same family.
func (r *Report) upBeside(id policy.PrefixID) bool {
	for other, h := range r.Health {
		if h.State == policy.Up && other.Interface != id.Interface && other.Prefix.Addr().Is4() == id.Prefix.Addr().Is4() {
			return true
		}
	}
	return false
}

// age drops evidence that no longer counts. It also notes when the next piece of
// evidence will stop counting.
func (p *prefix) age(now time.Time, r *Report) {
	next := func(at time.Time) {
		if at.After(now) && (r.Next.IsZero() || at.Before(r.Next)) {
			r.Next = at
		}
	}
	if p.damped {
		if p.decayed(now) < flapReuse {
			p.damped = false
		} else {
			next(p.reuse())
		}
	}
	for uid, d := range p.users {
		// After a hold, the doubt lasts until the user's next connect, which is a
		// trial. Without a hold the doubt ends by itself.
		end := d.last.Add(lossWindow)
		if !d.until.IsZero() {
			end = d.until.Add(lossWindow)
		}
		if !now.Before(end) {
			delete(p.users, uid)
			continue
		}
		next(d.until)
		next(end)
	}
}

// judge weighs the evidence, the strongest kind first. Where it shows that connections do
// not get far, the reason names the portal that the network has told of.
func (p *prefix) judge() (policy.HealthState, string) {
	state, reason := p.weigh()
	unlinked := !p.usable() || p.net.Refused != "" || p.damped
	if state != policy.Up && !unlinked && p.net.Portal != "" && reason != p.net.Doubt {
		reason += "; " + p.net.Portal
	}
	return state, reason
}

// claimed tells whether a prefix would not be down without what users report.
func (p *prefix) claimed() bool {
	without := *p
	without.users = nil
	state, _ := without.weigh()
	return state != policy.Down
}

func (p *prefix) weigh() (policy.HealthState, string) {
	failures, hold := 0, false
	for _, d := range p.users {
		failures = max(failures, d.failures)
		hold = hold || !d.until.IsZero()
	}
	stalled := p.stalled && !p.proven
	switch {
	case !p.net.Running:
		return policy.Down, "the link has no carrier"
	case p.net.Refused != "":
		return policy.Down, "a route or a rule of this host blocks its traffic: " + p.net.Refused
	case p.hadDefault && !p.net.Default:
		return policy.Down, "its default route is gone"
	case p.damped:
		return policy.Down, "the link is flapping: it was lost several times, and is used again after it has stayed up for a while"
	case p.probeFails >= probeLimit:
		return policy.Down, "the latest probes failed: " + p.probeReason
	case stalled && hold:
		return policy.Down, "connection attempts fail, and open connections get no acknowledgements"
	case stalled:
		return policy.Suspect, "open connections get no acknowledgements"
	case hold:
		return policy.Suspect, "connection attempts of " + users(len(p.users)) + " failed several times in a row"
	case p.probeFails > 0:
		return policy.Suspect, "the latest probe failed: " + p.probeReason
	case failures > 1: // a single failure may be the destination's fault
		return policy.Suspect, "some connection attempts failed"
	case p.net.Doubt != "":
		return policy.Suspect, p.net.Doubt
	case p.net.Far && !p.net.Default:
		return policy.Suspect, "there is no default route: only the network itself can be reached"
	}
	return policy.Up, ""
}

func users(n int) string {
	if n == 1 {
		return "one user"
	}
	return fmt.Sprintf("%d users", n)
}

// decayed returns the flap penalty at the time now.
func (p *prefix) decayed(now time.Time) float64 {
	return p.penalty * math.Exp2(-float64(now.Sub(p.penaltyAt))/float64(flapHalfLife))
}

// reuse returns the time when the penalty will have fallen below flapReuse. It adds a
// little, because rounding could otherwise leave the penalty just above.
func (p *prefix) reuse() time.Time {
	return p.penaltyAt.Add(time.Duration(float64(flapHalfLife)*math.Log2(p.penalty/flapReuse)) + 10*time.Millisecond)
}
