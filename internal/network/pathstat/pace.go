package pathstat

import "time"

// DefaultMaxInterval is the longest time between passes while nothing happens. After
// restPasses at that pace it is restFactor times as long.
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
	// sampler rests: the maximum is then restFactor times as long, unless the interval is
	// the maximum anyway. Most hosts are idle most of the time, and each pass wakes a
	// processor.
	restPasses = 30
	restFactor = 4
	// If nobody asks for the figures for this long, a busy host, too, is measured at the
	// maximum interval only, and reading connections takes less (unusedCPU).
	unused = 30 * time.Second
)

// DefaultCPU is the share of one processor that reading connections may take. With up to
// some 700 connections, which is more than most hosts have, this share allows a dump in
// each pass.
const DefaultCPU = 0.01

const (
	// doubtCPU is the share while a network may be silent. It is more, because somebody
	// waits for the answer then, and because that does not last.
	doubtCPU = 0.04
	// Only this part of the share is used while nobody asks for the figures and no network
	// is in doubt.
	unusedCPU = 0.5
	// maxDump is the greatest time between two dumps. Figures that are older say nothing.
	maxDump = 30 * time.Second
)

// budget keeps the processor time for dumps of the host's connections within a share. So the
// number of connections does not determine what this process takes.
type budget struct {
	share float64
	last  time.Duration // Instant.Up of the latest dump
	cost  time.Duration // processor time that it took; 0: the next one may come at any time
}

// allows tells whether a dump may come now. doubt says that a network may be silent, and
// idle for how long nobody has asked for the figures.
func (b *budget) allows(now time.Duration, doubt bool, idle time.Duration) bool {
	share := b.share
	switch {
	case doubt:
		share = max(share, doubtCPU)
	case idle >= unused:
		share *= unusedCPU
	}
	wait := maxDump
	if w := float64(b.cost) / share; w < float64(maxDump) {
		wait = time.Duration(w)
	}
	return now-b.last >= wait
}

// spent notes a dump.
func (b *budget) spent(now, cost time.Duration) { b.last, b.cost = now, cost }

// pace is the rule by which the sampler slows down. A pass is quiet if two things hold:
// no connection of a managed prefix has appeared, vanished, sent or received a segment
// since the last pass, and no managed link carried more than quietRate. After
// quietPasses of them each further one doubles the interval, up to the maximum. After
// restPasses at the maximum the interval is restFactor times the maximum.
//
// A change of prefixes and Sampler.Wake return to the configured interval at once. A pass
// that is not quiet does so only if one of these has happened within the time of unused;
// otherwise it returns to the maximum.
type pace struct {
	base, max time.Duration
	current   time.Duration
	quiet     int
	slowest   int // quiet passes at the maximum
}

func newPace(base, longest time.Duration) pace {
	return pace{base: base, max: max(base, longest), current: base}
}

// after notes a pass and returns the time until the next one. idle is for how long nobody
// has asked for the figures.
func (p *pace) after(quiet bool, idle time.Duration) time.Duration {
	if !quiet {
		p.wake()
		if idle >= unused {
			p.current = p.max
		}
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
