package client

import "time"

// The constants of RFC 8305 section 8.
const (
	defaultAttemptDelay    = 250 * time.Millisecond
	minAttemptDelay        = 100 * time.Millisecond
	maxAttemptDelay        = 2 * time.Second
	defaultResolutionDelay = 50 * time.Millisecond
	// A plain dial that starts beside a slow suggestion would undo the manager's
	// choice. So the plain dial waits for the longest delay that the RFC allows.
	lastResortDelay = maxAttemptDelay
)

// pace says how long a race waits for an attempt or a lookup before it starts another
// one beside it. The zero value goes by what is known about each candidate's path.
type pace struct {
	fixed bool // the caller has set delay, which then holds for everything
	delay time.Duration
}

// attempt returns how long to wait for a connection of c before the next attempt. That
// is the time after which TCP would repeat its first segment (RFC 8305 section 5).
// After a single measured round-trip time R, that is 3 R: SRTT is R, and RTTVAR, which
// counts four times, is R/2 (RFC 6298 section 2.2). A candidate in doubt gets no more
// time than one whose path is unknown.
func (p pace) attempt(c *candidate) time.Duration {
	if p.fixed {
		return p.delay
	}
	if c.race {
		return 0
	}
	d := defaultAttemptDelay
	if c.rtt > 0 {
		d = max(minAttemptDelay, min(3*c.rtt, maxAttemptDelay))
	}
	if c.suspect {
		d = min(d, defaultAttemptDelay)
	}
	return d
}

// lookup returns how long to wait for the resolution of c's name before other
// candidates are looked up. A long round-trip time makes a resolver slow. A short one
// does not make it quick, because a resolver asks others.
func (p pace) lookup(c *candidate) time.Duration {
	if p.fixed {
		return p.delay
	}
	return max(defaultAttemptDelay, p.attempt(c))
}

// lastResort returns how long the plain dial waits while another attempt is under way.
func (p pace) lastResort() time.Duration {
	return max(lastResortDelay, p.delay)
}
