package client

import (
	"time"

	"github.com/socket-intents/mamma/intent"
)

const (
	// What a manager that usually answers within a millisecond gets at least: what
	// takes longer is stuck, and people begin to notice.
	minPatience = 50 * time.Millisecond

	// How long an answer is waited for compared with the slowest of late. On a host
	// that becomes busy, answers take longer by steps less than this, because more
	// programs want the processor one after the other.
	patienceMargin = 16

	// The slowest answer counts for one to two spans.
	patienceSpan = 30 * time.Second

	// No connection waits for longer. What answers later than this is sick.
	maxPatience = 2 * time.Second
)

// patience is how long the manager is waited for, by how long its answers took. The
// zero value has met no manager yet.
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

// turn begins a new span where one has passed.
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

// wait is how long to wait for the next answer. The first contact has all that the
// connection allows: a connection must be accepted, a service manager may have to
// start the manager, and nothing is known of this host.
func (p *patience) wait(allowed time.Duration, now time.Time) time.Duration {
	if !p.met {
		return allowed
	}
	p.turn(now)
	return min(max(patienceMargin*max(p.slowest, p.before), minPatience), allowed)
}

// allowed is how long a connection with these intents may wait for a decision: what
// somebody waits for, as long as for an address that does not answer (RFC 8305
// section 8); what just has to finish, longer.
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
