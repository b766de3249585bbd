package client

import (
	"time"

	"github.com/socket-intents/mamma/intent"
)

const (
	// The least time that a manager gets. Managers usually answer within a millisecond:
	// one that takes longer than this is stuck, and people begin to notice.
	minPatience = 50 * time.Millisecond

	// How many times as long as the slowest of the latest answers is waited. Programs
	// begin one after the other to want the processor of a host that becomes busy, so
	// answers become slower by smaller steps than this.
	patienceMargin = 16

	// The slowest answer counts for one to two spans.
	patienceSpan = 30 * time.Second

	// No connection waits longer than this. A manager that is slower is out of order.
	maxPatience = 2 * time.Second
)

// patience says how long to wait for the manager, from how long its answers took. The
// zero value is that of a manager which has not answered yet.
type patience struct {
	met             bool
	slowest, before time.Duration // in this span, and in the one before it
	span            time.Time     // when this span began
}

// answered notes that an answer took so long, from the question to its last byte.
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

// wait is how long to wait for the next answer. The first answer may take all of most:
// the manager has to accept a connection, may have to be started by a service manager,
// and nothing is known of this host yet.
func (p *patience) wait(allowed time.Duration, now time.Time) time.Duration {
	if !p.met {
		return allowed
	}
	p.turn(now)
	return min(max(patienceMargin*max(p.slowest, p.before), minPatience), allowed)
}

// allowed is how long a connection with these intents may wait for a decision. If
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
