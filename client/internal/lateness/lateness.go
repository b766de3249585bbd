// Package lateness tells when an answer is late, and bounds how many requests are sent a
// second time because of that.
package lateness

import (
	"sync"
	"time"
)

// Usual values of the settings of users.
const (
	DefaultShare = 0.05
	DefaultLeast = 250 * time.Millisecond
	// DefaultPatience is how long an answer may take if nothing is known.
	DefaultPatience = 3 * time.Second
)

// Allowance bounds the part of requests that are sent twice. The zero value allows one
// repetition, unless the share is negative. An Allowance is safe for concurrent use.
type Allowance struct {
	mu    sync.Mutex
	asked uint64 // requests so far
	twice uint64 // how many of them were to be sent again
}

// Ask counts a request.
func (a *Allowance) Ask() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
}

// Spend counts a request that is sent again, and tells whether it may be: after n requests
// there were at most 1 + share*n.
func (a *Allowance) Spend(share float64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if share < 0 || float64(a.twice) > share*float64(a.asked)+1e-9 {
		return false
	}
	a.twice++
	return true
}

// Counts returns the number of requests, and of those that were sent again.
func (a *Allowance) Counts() (asked, twice uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked, a.twice
}

// Answers is how long answers take: the mean and the mean deviation, as RFC 6298 has them
// for a packet. The zero value knows none. Answers must be guarded by its user.
type Answers struct {
	known           bool
	mean, deviation time.Duration
}

// Took notes how long an answer took. The first one counts with half of its time as
// deviation.
func (a *Answers) Took(d time.Duration) {
	if !a.known {
		*a = Answers{true, d, d / 2}
		return
	}
	// RFC 6298 section 2: the deviation is brought up to date with the mean before d.
	a.deviation += ((d - a.mean).Abs() - a.deviation) / 4
	a.mean += (d - a.mean) / 8
}

// Patience returns the time after which an answer is far behind the earlier ones. ok is
// false if there were none.
func (a *Answers) Patience() (d time.Duration, ok bool) { return a.mean + 4*a.deviation, a.known }
