package pathstat

import "time"

// DefaultMaxInterval is the longest time between passes while nothing happens.
const DefaultMaxInterval = time.Second

const (
	// quietRate is the traffic below which a link counts as idle. It covers what a
	// network chatters by itself (ARP, neighbour discovery, mDNS): one full frame per
	// interval of the original.
	quietRate = 15_000 // bytes per second, either direction
	// quietPasses is the number of quiet passes in a row after which the sampler slows
	// down.
	quietPasses = 10
	// costShare bounds the time for reading sockets. After a dump that took t, the next
	// one comes no earlier than costShare*t later. So the host's number of connections
	// does not determine the CPU time of this process.
	costShare = 25
)

// pace is the rule by which the sampler slows down. A pass is quiet if two things hold:
// no connection of a managed prefix has appeared, vanished, sent or received a segment
// since the last pass, and no managed link carried more than quietRate. After
// quietPasses of them each further one doubles the interval, up to the maximum. Three
// events return to the configured interval at once: a pass that is not quiet, a change
// of prefixes, and Sampler.Wake.
type pace struct {
	base, max time.Duration
	current   time.Duration
	quiet     int
}

func newPace(base, longest time.Duration) pace {
	return pace{base: base, max: max(base, longest), current: base}
}

// after notes a pass and returns the time until the next one.
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
