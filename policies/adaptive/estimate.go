package adaptive

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// Assumptions about a prefix without measurements. The capacity of a link that was
// never loaded lies between a lower bound and the most likely value; all magnitudes
// between are equally likely. The lower bound is the rate that the link has shown, or
// one of the least values below if that is higher.
const (
	assumedRTT    = 50 * time.Millisecond
	leastDefault  = 250e3  // bytes per second; somebody chose that network
	leastOther    = 62.5e3 // bytes per second
	mostLikely    = 12.5e6 // bytes per second
	leastCapacity = 1e3    // of any link
)

// evidence is a rate over a second that only a loaded link shows.
const evidence = 300e3

// sustainedShare: the highest rate of a tenth of a second is not believed where
// the highest one of a whole second is at least so much of it. A stalled link, or a
// busy host, delivers what piled up faster than the link is; a link that was never
// loaded for a second shows a low average and no more.
const sustainedShare = 0.5

// estimate is what is assumed of a prefix.
type estimate struct {
	rtt           time.Duration
	capacity      float64 // bytes per second
	sustained     float64 // highest rate over a second, 0: unknown
	rttKnown      bool    // measured or configured, not assumed
	capacityKnown bool
	assumed       bool // the link was never loaded for a second, and may be capable of more than it showed
}

// estimateOf reads the measurements of a prefix.
func estimateOf(p *policy.Prefix) estimate {
	e := estimate{rtt: predict.Millis(predict.Value(policy.MetricSRTTMin, p)).Duration(), capacity: predict.Value(policy.MetricDownRateMax, p)}
	e.rttKnown, e.capacityKnown = e.rtt > 0, e.capacity > 0
	if !e.rttKnown {
		e.rtt = assumedRTT
	}
	_, configured := p.Options.Number(policy.MetricDownRateMax.String())
	if !configured {
		e.sustained = predict.Value(policy.MetricDownSMAMaxVeryLong, p)
		if e.sustained >= sustainedShare*e.capacity && e.capacity > 0 {
			e.capacity = e.sustained
		}
	}
	e.assumed = !configured && e.sustained < min(max(sustainedShare*predict.Value(policy.MetricDownRateMax, p), quiet), evidence)
	if e.assumed {
		e.capacity = expected(e.capacity, p.Default)
	}
	e.capacity = max(e.capacity, leastCapacity)
	return e
}

// expected is the capacity of a link that showed a rate but was never loaded. What
// matters is time, so this is the harmonic mean of the likely capacities.
func expected(shown float64, isDefault bool) float64 {
	least := leastOther
	if isDefault {
		least = leastDefault
	}
	least = max(least, shown)
	if least > 0.9*mostLikely {
		return least
	}
	return least * math.Log(mostLikely/least) / (1 - least/mostLikely)
}

// ramp is how many round trips a doubling of the window takes in effect. In theory it
// takes one. In practice HyStart ends slow start before the link is full, and bursts
// lose segments in short queues. The value was tuned with the simulator.
const ramp = 1.5

// slowStart is how long a transfer takes, from the first byte to the last, over a link
// of unlimited capacity, with the window that the connection has.
func slowStart(size float64, rtt time.Duration, window float64) time.Duration {
	const maxRounds = 30 // more than any size has
	rounds := 0
	for window := max(window, predict.InitialWindow); size > window && rounds < maxRounds; rounds++ {
		size -= window
		window *= 2
	}
	return time.Duration(ramp * float64(rounds) * float64(rtt))
}
