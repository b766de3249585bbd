package arrival

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// scores returns the compared figures, with note at the chosen candidate. All terms
// share one allocation.
func (b *Base) scores(chosen *Candidate, note string) []policy.Score {
	n := 2 // number of terms per candidate
	test := b.TestCapacity != nil || b.Counts != nil
	decided := b.result.Rule != NoSize
	if test {
		n++
		if decided {
			n += 2
		}
	}
	if b.Counts != nil {
		n++
	}
	drawn := b.Draw != nil && b.result.Rule == Fastest
	if drawn {
		n++
	}
	terms := make([]policy.Term, 0, n*len(b.cands))
	scores := make([]policy.Score, len(b.cands))
	for i := range b.cands {
		c := &b.cands[i]
		from := len(terms)
		if test {
			terms = append(terms, rtt("min rtt", c.MinRTT, policy.MetricSRTTMin.Time(c.Prefix)))
		}
		// Only a policy with inputs of its own knows when these were measured.
		var rttTime, rateTime time.Time
		if b.Inputs == nil {
			rttTime, rateTime = policy.MetricSRTTMedian.Time(c.Prefix), policy.MetricDownRateMax.Time(c.Prefix)
		}
		terms = append(terms,
			rtt("rtt", c.RTT, rttTime),
			policy.Term{Name: "free capacity", Unit: policy.ByteRate, Value: orNaN(float64(c.Capacity)), Time: rateTime})
		if b.Counts != nil {
			terms = append(terms, policy.Term{Name: "transfers", Unit: policy.Count, Value: float64(b.Counts.transfers(c.Prefix.ID))})
		}
		if test && decided {
			latency, capacity := math.NaN(), math.NaN()
			if c.MinRTT > 0 {
				latency = float64(c.LatencyPart)
			}
			if c.TestCapacity > 0 {
				capacity = float64(c.CapacityPart)
			}
			terms = append(terms,
				policy.Term{Name: "latency part", Unit: policy.Milliseconds, Value: latency},
				policy.Term{Name: "capacity part", Unit: policy.Milliseconds, Value: capacity})
		}
		if drawn {
			terms = append(terms, policy.Term{Name: "probability", Unit: policy.Probability, Value: c.Probability})
		}
		scores[i] = policy.Score{Prefix: c.Prefix, Predicted: c.Time.Duration(), Terms: terms[from:len(terms):len(terms)]}
		if c == chosen {
			scores[i].Note = note
		}
	}
	return scores
}

func rtt(name string, t predict.Millis, measured time.Time) policy.Term {
	return policy.Term{Name: name, Unit: policy.Milliseconds, Value: orNaN(float64(t)), Time: measured}
}

// orNaN replaces the figures that mean "unknown" in the computations by NaN.
func orNaN(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}
