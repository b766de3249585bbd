package pathstat

import "time"

// DefaultMaxInterval is the time between passes while nothing happens. After half a minute
// of that it becomes four times as long.
const DefaultMaxInterval = time.Second

const (
	// quietRate is the traffic below which a link counts as idle. It covers what a
	// network chatters by itself (ARP, neighbour discovery, mDNS): one full frame per
	// interval of the original.
	quietRate = 15_000 // bytes per second, either direction
	// quietPasses is the number of quiet passes in a row after which the sampler slows
	// down.
	quietPasses = 10
	// restPasses is the number of further quiet passes, at the maximum, after which the
	// sampler rests: the maximum is then restFactor times as long. Most hosts are idle most
	// of the time, and each pass wakes a processor.
	restPasses = 30
	restFactor = 4
	// costShare bounds the time for reading sockets. After a dump that took t, the next
	// one comes no earlier than costShare*t later. So the host's number of connections
	// does not determine the CPU time of this process.
	costShare = 25
)

// pace is the rule by which the sampler slows down. A pass is quiet if two things hold:
// no connection of a managed prefix has appeared, vanished, sent or received a segment
// since the last pass, and no managed link carried more than quietRate. After
// quietPasses of them each further one doubles the interval, up to the maximum. After
// restPasses at the maximum the interval is restFactor times the maximum. Three
// events return to the configured interval at once: a pass that is not quiet, a change
// of prefixes, and Sampler.Wake.
type pace struct {
	base, max time.Duration
	current   time.Duration
	quiet     int
	slowest   int // quiet passes at the maximum
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
	switch {
	case p.slowest >= restPasses && p.max > p.base:
		p.current = restFactor * p.max
	case p.quiet > quietPasses:
		p.current = min(2*p.current, p.max)
	}
	if p.current >= p.max {
		p.slowest++
	}
	return p.current
}

func (p *pace) wake() { p.quiet, p.slowest, p.current = 0, 0, p.base }
