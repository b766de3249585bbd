package client

import (
	"time"

	"github.com/socket-intents/mamma/intent"
)

const (
	// minPatience is the least time to wait for the manager. It usually answers within
	// a millisecond. A manager that takes longer than minPatience is stuck, and people
	// begin to notice the delay.
	minPatience = 50 * time.Millisecond

	// patienceMargin is the factor by which the wait exceeds the slowest of the latest
	// answers. When a host becomes busy, its programs begin to compete for the
	// processor one after another, so that answers slow down by smaller steps than
	// this.
	patienceMargin = 16

	// The slowest answer counts for one to two spans of this length.
	patienceSpan = 30 * time.Second

	// maxPatience bounds every wait. A manager that is slower is out of order.
	maxPatience = 2 * time.Second
)

// patience derives the time to wait for the manager from the time that its answers
// took. The zero value is for a manager that has not answered yet.
type patience struct {
	met             bool
	slowest, before time.Duration // in this span, and in the one before it
	span            time.Time     // when this span began
}

// answered notes how long an answer took, from sending the question to reading the last
// byte.
func (p *patience) answered(took time.Duration, now time.Time) {
	p.turn(now)
	p.met = true
	p.slowest = max(p.slowest, took)
}

// turn begins a new span if the present one has passed.
func (p *patience) turn(now time.Time) {
	switch since := now.Sub(p.span); {
	case since < patienceSpan:
		return
	case since < 2*patienceSpan:
		p.before = p.slowest
	default:
		p.before = 0
	}
	p.slowest, p.span = 0, now
}

// wait returns how long to wait for the next answer. The first answer may take all that
// is allowed. The manager then has to accept a connection and may have to be started by
// a service manager, and nothing is known about the host yet.
func (p *patience) wait(allowed time.Duration, now time.Time) time.Duration {
	if !p.met {
		return allowed
	}
	p.turn(now)
	return min(max(patienceMargin*max(p.slowest, p.before), minPatience), allowed)
}

// allowed returns how long a connection with these intents may wait for a decision. If
// somebody waits for the connection, that is as long as for an address that does not
// answer (RFC 8305 section 8). A transfer that only has to finish may wait longer.
func allowed(s intent.Set) time.Duration {
	const attentive, unstated = defaultAttemptDelay, 2 * defaultAttemptDelay
	if t, ok := s.Timeliness(); ok {
		switch t {
		case intent.TimelinessTransfer:
			return maxPatience / 2
		case intent.TimelinessBackgroundTraffic:
			return maxPatience
		default:
			return attentive
		}
	}
	c, ok := s.Category()
	switch {
	case !ok:
		return unstated
	case c == intent.CategoryBulkTransfer:
		return maxPatience / 2
	}
	return attentive
}
