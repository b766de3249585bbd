package client

import "time"

// The constants of RFC 8305 section 8.
const (
	defaultAttemptDelay    = 250 * time.Millisecond
	minAttemptDelay        = 100 * time.Millisecond
	maxAttemptDelay        = 2 * time.Second
	defaultResolutionDelay = 50 * time.Millisecond
	// A plain dial beside a suggestion that is merely slow would undo the
	// manager's choice, so it waits for the longest delay that the RFC allows.
	lastResortDelay = maxAttemptDelay
)

// pace is how long a race waits for what is under way before it starts something
// beside it. The zero value goes by what is known of each candidate's path.
type pace struct {
	fixed bool // by the caller, for everything
	delay time.Duration
}

// attempt is how long to wait for a connection of c: until the first segment
// would be sent again (RFC 8305 section 5), which for one round-trip time R is
// after 3 R, SRTT and four times RTTVAR of R/2 (RFC 6298 section 2.2). A
// candidate that there is doubt about is not given more than any unknown one.
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

// lookup is how long to wait for c's name to be resolved. A resolver asks others
// in turn, so a short way to it does not make it quick; a long one makes it slow.
func (p pace) lookup(c *candidate) time.Duration {
	if p.fixed {
		return p.delay
	}
	return max(defaultAttemptDelay, p.attempt(c))
}

// lastResort is how long a plain dial waits while something else is under way.
func (p pace) lastResort() time.Duration {
	return max(lastResortDelay, p.delay)
}
