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
// Make one with NewLinkEstimator. It is not safe for concurrent use.
//
// Time is cut into slots of one interval, each with one rate. A window is a duration,
// and so a number of slots: 1 s, 10 s, 1 min and 10 min are 10, 100, 600 and 6000 slots
// at the original's interval. A pass fills the slots that it was planned to cover with
// the rate that it found. If the pass is late, the slots beyond get the rate 0, because
// nothing was seen of them.
type LinkEstimator struct {
	interval time.Duration
	slots    int64 // number of slots in History
	down, up direction
	sma      averages
	stats    policy.LinkStats
}

// direction is one byte counter with its rates. Each direction has a baseline and a
// time of its own, so that one whose counter has not started does not affect the other
// (M8).
type direction struct {
	known bool
	bytes uint64
	at    time.Duration
	slot  int64
	rate  float64
	max   sliding

	// stalled tells that the last pass was late. The pass before it had read stallBytes
	// at stallAt.
	stalled    bool
	stallBytes uint64
	stallAt    time.Duration

	// recalled is what was known of the attachment from earlier, as it stands in max, and
	// recalledTime when it was measured.
	recalled     extreme
	recalledTime time.Time
}

// recall takes over the highest rate of an earlier time at the same attachment. It counts
// as long as if it were measured now, with its own time.
func (d *direction) recall(rate policy.BytesPerSecond, at time.Time) {
	if rate <= 0 || d.max.value() >= float64(rate) {
		return
	}
	d.recalled, d.recalledTime = extreme{d.slot, float64(rate)}, at
	d.max.push(d.slot, float64(rate))
}

// Recall takes over what was known of the link's attachment from an earlier time.
func (e *LinkEstimator) Recall(r LinkRecord) {
	e.down.recall(r.Down, r.DownTime)
	e.up.recall(r.Up, r.UpTime)
	if last := len(windows) - 1; float64(r.DownAverage) > e.sma.max[last].value() {
		e.sma.max[last].push(e.sma.slot, float64(r.DownAverage))
	}
}

// NewLinkEstimator makes an estimator for passes that are an interval apart. An
// interval that is not positive means 100 ms.
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

// Add takes the counters of a pass. planned is the planned time since the previous
// pass: one interval, or more if the sampler has slowed down; 0 means one interval.
//
// A counter that was never above 0 has not started. A counter that goes backwards
// (reset, wrap of a 32-bit counter) begins a new baseline (M9). If less than half an
// interval has passed since the last pass, the bytes are left to the next pass. After a
// gap longer than the history, the history begins again. After a late pass, the maximum
// uses the rate over the late pass and the next one together, if that is lower.
func (e *LinkEstimator) Add(now Instant, c LinkCounters, planned time.Duration) {
	e.AddBetween(now, now, c, planned)
}

// AddBetween is Add for counters that were read at an unknown time between two
// instants, because a process may have to wait at any time. It uses the lowest rate
// that is possible. So waiting, which adds bytes to one pass and takes them from the
// next, never makes a link look faster than it is.
func (e *LinkEstimator) AddBetween(after, before Instant, c LinkCounters, planned time.Duration) {
	e.stats.Time = before.Wall
	e.stats.RxErrors, e.stats.TxErrors = c.RxErrors, c.TxErrors
	e.advance(&e.down, after.Up, before.Up, c.RxBytes, planned, &e.sma)
	e.advance(&e.up, after.Up, before.Up, c.TxBytes, planned, nil)
}

// Stats returns the figures of the last pass.
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
	if m == d.recalled {
		return policy.BytesPerSecond(m.value), d.recalledTime
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
	// After a standstill of a busy host or of its hypervisor, the link delivers at once
	// what has piled up. It has carried these bytes in the time of both passes, and was
	// no faster.
	peak := rate
	if d.stalled && bytes >= d.stallBytes {
		peak = min(rate, float64(bytes-d.stallBytes)/(before-d.stallAt).Seconds())
	}
	covered := min(e.count(planned), slots)
	d.stalled, d.stallBytes, d.stallAt = slots > covered, d.bytes, d.at
	d.bytes, d.at, d.rate = bytes, after, rate
	if slots >= e.slots {
		// After so long a gap the old figures are not recent, and a mean rate over the
		// gap says nothing about now.
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
