package adaptive

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// Assumptions about a prefix without measurements. The capacity of a link that was
// never loaded lies between a lower bound and the most likely value; every order of
// magnitude in between is equally likely. The lower bound is the rate that the link has
// shown, but at least one of the least values below.
const (
	assumedRTT    = 50 * time.Millisecond
	leastDefault  = 250e3  // bytes per second; more than leastOther, because somebody chose that network
	leastOther    = 62.5e3 // bytes per second
	mostLikely    = 12.5e6 // bytes per second
	leastCapacity = 1e3    // bytes per second, for any link
)

// evidence is a rate that only a loaded link shows over a second.
const evidence = 300e3

// sustainedShare guards against bursts. The highest rate of a tenth of a second is not
// believed if the highest rate of a whole second is at least this share of it. A
// stalled link or a busy host delivers what has piled up faster than the link is. A
// link that was never loaded for a second shows a lower average, and is not meant here.
const sustainedShare = 0.5

// estimate is what the policy assumes about a prefix.
type estimate struct {
	rtt           time.Duration
	capacity      float64 // bytes per second
	sustained     float64 // highest rate over a second; 0: unknown
	rttKnown      bool    // measured or configured, not assumed
	capacityKnown bool
	assumed       bool // the link was never loaded for a second, and may be faster than it has shown
}

// estimateOf makes an estimate from the measurements of a prefix.
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

// absence is how long a prefix may be unmeasured until it may lead to another network when
// it comes back.
const absence = time.Minute

// known is what was measured of a prefix. Measurements are for ten minutes, and time alone
// is no evidence that they are wrong later.
type known struct {
	rtt      time.Duration // 0: unknown
	capacity float64       // bytes per second; 0: unknown
	received uint64        // the interface's byte counter
	at       time.Time     // of the last measurement
}

// estimate makes an estimate of what is measured, and of what was measured before where that
// has become too old to be told.
func (l *link) estimate(p *policy.Prefix) estimate {
	e, m := estimateOf(p), &l.known
	if !m.at.IsZero() && p.Link.Time.Sub(m.at) > absence || p.Link.DownBytes < m.received {
		*m = known{}
	}
	m.received, m.at = p.Link.DownBytes, p.Link.Time
	if e.rttKnown {
		m.rtt = e.rtt
	} else if m.rtt > 0 {
		e.rtt, e.rttKnown = m.rtt, true
	}
	shown := predict.Value(policy.MetricDownRateMax, p)
	switch {
	case !e.assumed && shown >= 0.9*e.sustained: // else that rate is too old to be told, and the mean is of the load's last moments
		m.capacity = e.capacity
	case burst*shown > m.capacity: // nothing was known, or it has become faster
		m.capacity = 0
	case m.capacity > 0:
		e.capacity, e.capacityKnown, e.assumed = m.capacity, true, false
	}
	return e
}

// expected returns the capacity to assume of a link that has shown a rate but was never
// loaded. It is the harmonic mean of the likely capacities, because transfer time is
// proportional to the inverse.
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

// ramp is how many round trips it takes until the window has doubled. In theory it is
// one. In practice HyStart ends slow start before the link is full, and bursts lose
// segments in short queues. The value was tuned with the simulator.
const ramp = 1.5

// slowStart returns how long a transfer takes from the first byte to the last over a
// link of unlimited capacity, if the connection begins with this window.
func slowStart(size float64, rtt time.Duration, window float64) time.Duration {
	const maxRounds = 30 // no size needs more
	rounds := 0
	for window := max(window, predict.InitialWindow); size > window && rounds < maxRounds; rounds++ {
		size -= window
		window *= 2
	}
	return time.Duration(ramp * float64(rounds) * float64(rtt))
}
