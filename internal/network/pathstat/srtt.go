package pathstat

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// History is the length of the longest window. Minima and maxima look back this far,
// and the figures of a path are forgotten after this much idle time
// (doc/original/measurement.md 1: 6000 ticks of 0.1 s).
const History = 10 * time.Minute

// Sample is what the kernel says about one TCP connection (struct tcp_info).
type Sample struct {
	RTT     uint32 // smoothed round-trip time in microseconds; 0: no sample yet
	RTTVar  uint32 // its variation in microseconds
	Sent    uint32 // segments with data sent, retransmissions included
	Lost    uint32 // segments currently considered lost
	Retrans uint32 // segments retransmitted since the start
}

// PathEstimator computes the figures of a path from samples of its connections
// (doc/original/measurement.md section 4, with the corrections M1 to M5 of section 9).
// The zero value is ready to use. It is not safe for concurrent use.
type PathEstimator struct {
	stats   policy.PathStats
	minimum sliding // in microseconds; positions are nanoseconds of Instant.Up
	last    time.Duration
	scratch *scratch
}

// scratch is memory for one computation. Estimators share it and compute one after
// another.
type scratch struct {
	rtt, rttVar   []uint32
	loss, retrans []float64
}

// Add computes the figures of a pass that found these connections. It ignores
// connections without a round-trip time, and the whole pass if its time is before that
// of the previous one.
func (e *PathEstimator) Add(now Instant, samples []Sample) {
	if e.stats.Time.IsZero() {
		e.last = now.Up
	}
	if now.Up < e.last {
		return
	}
	e.last = now.Up
	if e.scratch == nil {
		e.scratch = new(scratch)
	}
	e.stats.Time = now.Wall
	e.minimum.expire(int64(now.Up-History) + 1)
	if e.scratch.load(samples) {
		e.compute(now)
		return
	}
	// Without samples, mean and median take the value of the minimum, and all three
	// expire together (M3, M4).
	recent := micros(e.minimum.value())
	e.stats = policy.PathStats{
		Time:       now.Wall,
		SampleTime: e.stats.SampleTime,
		SRTTMean:   recent,
		SRTTMedian: recent,
		SRTTMin:    recent,
	}
}

// Ended takes the round-trip time, in microseconds, of a connection that has ended since the
// pass before. It counts for the minimum. Add follows with the connections of this pass.
func (e *PathEstimator) Ended(now Instant, rtt uint32) {
	if e.stats.Time.IsZero() {
		e.last = now.Up
	}
	e.minimum.expire(int64(now.Up-History) + 1) // where no connection lives, no pass does so
	e.Recall(now, PathRecord{SRTTMin: time.Duration(rtt) * time.Microsecond, Time: now.Wall})
}

// Recall takes over the least round-trip time of an earlier time at the same attachment. It
// counts as long as if it were measured now, with its own time.
func (e *PathEstimator) Recall(now Instant, r PathRecord) {
	if r.SRTTMin <= 0 || r.SRTTMin > History {
		return
	}
	if now.Up < e.last {
		return
	}
	e.last = now.Up
	e.minimum.push(int64(now.Up), float64(r.SRTTMin/time.Microsecond))
	if e.stats.Conns > 0 {
		return // the next pass has the rest
	}
	least := micros(e.minimum.value())
	sampled := e.stats.SampleTime
	if sampled.Before(r.Time) {
		sampled = r.Time
	}
	e.stats = policy.PathStats{Time: now.Wall, SampleTime: sampled, SRTTMean: least, SRTTMedian: least, SRTTMin: least}
}

// Stats returns the figures of the last pass.
func (e *PathEstimator) Stats() policy.PathStats { return e.stats }

// compute computes the figures from scratch, which must hold at least one connection.
func (e *PathEstimator) compute(now Instant) {
	w := e.scratch
	n := float64(len(w.rtt))
	sum, varSum, smallest := 0.0, 0.0, w.rtt[0]
	for i, rtt := range w.rtt {
		sum += float64(rtt)
		varSum += float64(w.rttVar[i])
		smallest = min(smallest, rtt)
	}
	mean := sum / n
	squares := 0.0
	for _, rtt := range w.rtt {
		d := (float64(rtt) - mean) / 1000
		squares += d * d
	}
	e.minimum.push(int64(now.Up), float64(smallest))
	e.stats = policy.PathStats{
		Time:         now.Wall,
		Conns:        len(w.rtt),
		SampleTime:   now.Wall,
		SRTTMean:     micros(mean),
		SRTTMedian:   micros(median(w.rtt)),
		SRTTMin:      micros(e.minimum.value()),
		SRTTCurrent:  micros(float64(smallest)),
		SRTTVariance: squares / n,
		RTTVarMedian: micros(median(w.rttVar)),
		RTTVarMean:   micros(varSum / n),
		LossUp:       median(w.loss),
		RetransUp:    median(w.retrans),
	}
}

// load takes over the samples with a round-trip time, and tells whether there are any.
func (w *scratch) load(samples []Sample) bool {
	w.rtt, w.rttVar = w.rtt[:0], w.rttVar[:0]
	w.loss, w.retrans = w.loss[:0], w.retrans[:0]
	for i := range samples {
		s := &samples[i]
		if s.RTT == 0 {
			continue
		}
		w.rtt = append(w.rtt, s.RTT)
		w.rttVar = append(w.rttVar, s.RTTVar)
		w.loss = append(w.loss, ratio(s.Lost, s.Sent))
		w.retrans = append(w.retrans, ratio(s.Retrans, s.Sent))
	}
	return len(w.rtt) > 0
}

// ratio returns part/whole, but 0 if nothing was sent, and 1 at most. The quotient can
// exceed 1, because the counters are not read at the same instant, and because a lost
// SYN counts as a retransmission without being a data segment.
func ratio(part, whole uint32) float64 {
	if whole == 0 {
		return 0
	}
	return min(1, float64(part)/float64(whole))
}

func micros(us float64) time.Duration {
	return time.Duration(math.Round(us * float64(time.Microsecond)))
}
