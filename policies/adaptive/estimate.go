package adaptive

import (
	"time"

	"github.com/socket-intents/mamma/mam/policy"
	"github.com/socket-intents/mamma/policies/predict"
)

// What is assumed of a prefix of which nothing is known: a modest link, so that
// it is tried, but not with what is large while others are known to be good.
const (
	assumedRTT      = 50 * time.Millisecond
	assumedCapacity = 1e6 // bytes per second
	leastCapacity   = 1e3
	// evidence is after how many bytes the measurement counts alone. Before, a
	// low maximum may only say that nothing large was loaded yet.
	evidence = 300e3
)

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
}

// estimateOf reads the measurements of a prefix.
func estimateOf(p *policy.Prefix) estimate {
	e := estimate{rtt: predict.Millis(predict.SRTTMin.Value(p)).Duration(), capacity: predict.DownRateMax.Value(p)}
	e.rttKnown, e.capacityKnown = e.rtt > 0, e.capacity > 0
	if !e.rttKnown {
		e.rtt = assumedRTT
	}
	_, configured := p.Options.Number(predict.DownRateMax.String())
	if !configured {
		e.sustained = predict.DownSMAMaxVeryLong.Value(p)
		if e.sustained >= sustainedShare*e.capacity && e.capacity > 0 {
			e.capacity = e.sustained
		}
	}
	if seen := float64(p.Link.DownBytes); !configured && seen < evidence {
		e.capacity = max(e.capacity, assumedCapacity*(1-seen/evidence))
	}
	e.capacity = max(e.capacity, leastCapacity)
	return e
}

// ramp is how many round trips a doubling of the window takes in effect. In theory
// it is one, but HyStart ends slow start before the link is full, and bursts lose
// segments in short queues. Tuned with the simulator.
const ramp = 1.5

// slowStart is how long a transfer takes whose link has room without end, from
// the first byte to the last. Of the window of a reused connection nothing is
// known: it is taken for that of a new one.
func slowStart(size float64, rtt time.Duration) time.Duration {
	const maxRounds = 30 // more than any size has
	rounds := 0
	for window := float64(predict.InitialWindow); size > window && rounds < maxRounds; rounds++ {
		size -= window
		window *= 2
	}
	return time.Duration(ramp * float64(rounds) * float64(rtt))
}
