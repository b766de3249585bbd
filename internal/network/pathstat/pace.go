package pathstat

import "time"

// DefaultMaxInterval is the longest time between passes while nothing happens.
const DefaultMaxInterval = time.Second

const (
	// quietRate is the traffic below which a link counts as idle: what a
	// network chatters by itself (ARP, neighbour discovery, mDNS), one full
	// frame per original interval.
	quietRate = 15_000 // bytes per second, either direction
	// quietPasses is how many quiet passes in a row slow the sampler down.
	quietPasses = 10
	// costShare bounds what reading sockets may take: a dump that took t is
	// followed by another not before costShare*t, so that the host's number of
	// connections does not decide about the CPU time of this process.
	costShare = 25
)

// pace is the rule by which the sampler slows down. A pass is quiet if no
// connection of a managed prefix appeared, vanished, sent or received a segment
// since the last pass, and no managed link carried more than quietRate. After
// quietPasses of them each further one doubles the interval, up to the maximum.
// A pass that is not quiet, a change of prefixes or Sampler.Wake returns to the
// configured interval at once.
type pace struct {
	base, max time.Duration
	current   time.Duration
	quiet     int
}

func newPace(base, longest time.Duration) pace {
	return pace{base: base, max: max(base, longest), current: base}
}

// after takes note of a pass and returns the time to the next one.
func (p *pace) after(quiet bool) time.Duration {
	if !quiet {
		p.wake()
		return p.current
	}
	p.quiet++
	if p.quiet > quietPasses {
		p.current = min(2*p.current, p.max)
	}
	return p.current
}

func (p *pace) wake() { p.quiet, p.current = 0, p.base }
