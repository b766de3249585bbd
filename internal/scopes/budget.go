package scopes

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// perSecond is how much processor time a second may go into asking again about destinations
	// that have an answer.
	perSecond = 5 * time.Millisecond
	// burst is how much of it can be saved up while there is nothing to ask. That is enough for
	// some thousands of destinations, so that a change after a quiet time counts for all of them
	// at once.
	burst = 200 * time.Millisecond
)

// budget bounds processor time. The zero value is full.
type budget struct {
	used time.Duration // at time at; at most burst, and less after that
	at   time.Time
}

// may tells whether there is something left.
func (b *budget) may(now time.Time) bool {
	if d := now.Sub(b.at); d > 0 {
		b.used -= min(b.used, time.Duration(d.Seconds()*float64(perSecond)))
		b.at = now
	}
	return b.used < burst
}

// spend takes d, even if less is left.
func (b *budget) spend(d time.Duration) { b.used = min(b.used+d, 2*burst) }

// charge calls do, and takes from the budget what do has taken.
func (e *Engine) charge(do func()) {
	begun, before := time.Now(), processorTime()
	do()
	// The policy runs in goroutines of its own. So the time is that of this process, but not
	// more than what has passed.
	e.budget.spend(min(time.Since(begun), processorTime()-before))
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) // Linux always has this clock
	return time.Duration(t.Nano())
}
