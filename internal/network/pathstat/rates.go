package pathstat

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// DefaultInterval is the time between two passes of the original.
const DefaultInterval = 100 * time.Millisecond

// LinkCounters are the kernel's counters of an interface.
type LinkCounters struct {
	RxBytes, TxBytes   uint64
	RxErrors, TxErrors uint64
}

// LinkEstimator computes the figures of an interface from its counters
// (doc/original/measurement.md section 5, with the corrections M7 to M10 of section 9).
// Make one with NewLinkEstimator; it is not safe for concurrent use.
//
// Time is cut into slots of one interval, each with one rate. A window is a
// duration, hence a number of slots: 1 s, 10 s, 1 min and 10 min, 10, 100, 600
// and 6000 slots at the original's interval. A pass fills the slots that it was
// planned to cover with the rate it found; slots beyond, because it came late,
// hold the rate 0, as nothing was seen of them.
type LinkEstimator struct {
	interval time.Duration
	slots    int64 // of History
	down, up direction
	sma      averages
	stats    policy.LinkStats
}

// direction is one byte counter and its rates. Each has its own baseline and
// its own time: one that does not count yet leaves the other alone (M8).
type direction struct {
	known bool
	bytes uint64
	at    time.Duration
	slot  int64
	rate  float64
	max   sliding

	// stalled tells that the last pass came late, after one that had read
	// stallBytes at stallAt.
	stalled    bool
	stallBytes uint64
	stallAt    time.Duration
}

// NewLinkEstimator makes an estimator for passes an interval apart, 100 ms if
// it is not positive.
func NewLinkEstimator(interval time.Duration) *LinkEstimator {
	if interval <= 0 {
		interval = DefaultInterval
	}
	e := &LinkEstimator{interval: interval, slots: max(1, int64(History/interval))}
	e.down.max.max = true
	e.up.max.max = true
	e.sma = newAverages(interval)
	return e
}

// Add takes the counters of a pass. Planned is the time since the previous pass
// as it was meant to be: one interval, or more if the sampler had slowed down;
// 0 means one interval.
//
// A counter that was never above 0 is not there yet. One that goes backwards
// (reset, wrap of a 32-bit counter) begins a new baseline (M9). A pass less than
// half an interval after the one before is left to the next one. A gap longer
// than the history begins anew. Of a pass that follows a late one, the maximum
// takes the rate over both, if that is lower.
func (e *LinkEstimator) Add(now Instant, c LinkCounters, planned time.Duration) {
	e.AddBetween(now, now, c, planned)
}

// AddBetween is Add where it is only known that the counters were read after one
// instant and before another, as a process may be made to wait at any time. The
// rate is then the least that they can mean: what waiting adds to one pass and
// takes from the next must not make a link look faster than it is.
func (e *LinkEstimator) AddBetween(after, before Instant, c LinkCounters, planned time.Duration) {
	e.stats.Time = before.Wall
	e.stats.RxErrors, e.stats.TxErrors = c.RxErrors, c.TxErrors
	e.advance(&e.down, after.Up, before.Up, c.RxBytes, planned, &e.sma)
	e.advance(&e.up, after.Up, before.Up, c.TxBytes, planned, nil)
}

// Stats returns the figures as of the last pass.
func (e *LinkEstimator) Stats() policy.LinkStats {
	s := e.stats
	s.DownBytes, s.UpBytes = e.down.bytes, e.up.bytes
	s.DownRate = policy.BytesPerSecond(e.down.rate)
	s.UpRate = policy.BytesPerSecond(e.up.rate)
	s.DownRateMax, s.DownRateMaxTime = e.maximum(&e.down)
	s.UpRateMax, s.UpRateMaxTime = e.maximum(&e.up)
	e.sma.fill(&s)
	return s
}

func (e *LinkEstimator) maximum(d *direction) (policy.BytesPerSecond, time.Time) {
	m, ok := d.max.get()
	if !ok || m.value == 0 {
		return 0, time.Time{}
	}
	return policy.BytesPerSecond(m.value), e.stats.Time.Add(-time.Duration(d.slot-m.at) * e.interval)
}

func (e *LinkEstimator) advance(d *direction, after, before time.Duration, bytes uint64, planned time.Duration, sma *averages) {
	if !d.known {
		if bytes > 0 {
			d.known, d.bytes, d.at = true, bytes, after
		}
		return
	}
	passed := before - d.at
	if passed < e.interval/2 || passed <= 0 {
		return
	}
	slots := e.count(passed)
	rate := 0.0
	if bytes >= d.bytes {
		rate = float64(bytes-d.bytes) / passed.Seconds()
	}
	// A host that stood still, as it was busy or its hypervisor was, gets what has
	// piled up meanwhile with what comes next. The link has carried that in the
	// time of both passes, and was no faster.
	peak := rate
	if d.stalled && bytes >= d.stallBytes {
		peak = min(rate, float64(bytes-d.stallBytes)/(before-d.stallAt).Seconds())
	}
	covered := min(e.count(planned), slots)
	d.stalled, d.stallBytes, d.stallAt = slots > covered, d.bytes, d.at
	d.bytes, d.at, d.rate = bytes, after, rate
	if slots >= e.slots {
		// Nothing of what is known is recent, and a rate over so long a time
		// says nothing of now.
		d.rate, d.stalled = 0, false
		d.max.reset()
		if sma != nil {
			sma.reset()
		}
		return
	}
	for i := range slots {
		v, highest := rate, peak
		if i < slots-covered {
			v, highest = 0, 0
		}
		d.slot++
		d.max.push(d.slot, highest)
		if sma != nil {
			sma.push(v)
		}
	}
	d.max.expire(d.slot - e.slots + 1)
}

// count returns the number of slots of a duration, at least 1.
func (e *LinkEstimator) count(d time.Duration) int64 {
	return max(1, int64(math.Round(float64(d)/float64(e.interval))))
}
