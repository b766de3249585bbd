package predict

import (
	"math"

	"github.com/socket-intents/mamma/policy"
)

// Term makes the score term of a metric. The value is NaN if the metric is unknown.
func Term(m policy.Metric, name string, unit policy.Unit, p *policy.Prefix) policy.Term {
	v := Value(m, p)
	if v == 0 {
		v = math.NaN()
	}
	return policy.Term{Name: name, Unit: unit, Value: v, Time: m.Time(p)}
}

// AddRTT adds to each score its only term: the minimum round-trip time of the prefix.
func AddRTT(scores []policy.Score) {
	terms := make([]policy.Term, len(scores))
	for i := range scores {
		terms[i] = Term(policy.MetricSRTTMin, "min rtt", policy.Milliseconds, scores[i].Prefix)
		scores[i].Terms = terms[i : i+1 : i+1]
	}
}

// RTTOrUnknown returns the minimum round-trip time of p, or Unknown. Policies that
// prefer short times rank by it.
func RTTOrUnknown(p *policy.Prefix) Millis {
	if v := Value(policy.MetricSRTTMin, p); v > Epsilon {
		return Millis(v)
	}
	return Unknown
}
