package video

import (
	"math"

	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policies/internal/streaming"
	"github.com/socket-intents/mamma/policy"
)

const (
	// segmentMillis is the playing time of a segment.
	segmentMillis = streaming.SegmentSeconds * 1000
	// safety is the factor by which the buffer must exceed a load time to satisfy the
	// optimist.
	safety = 1.5
	// reconsider and retry count the segments that have gone elsewhere. After
	// reconsider segments the optimist considers a prefix again, after retry segments
	// it insists on it.
	reconsider, retry = 3, 10
)

// candidate is a prefix with the predicted load times of the next segment. The four
// predictions use the highest rate of the last second, 10 seconds, minute and 10
// minutes.
type candidate struct {
	prefix                     *policy.Prefix
	short, mid, long, veryLong predict.Millis
	notPicked                  int
}

// best returns the first load time that is known, in the order in which the choice uses
// the windows.
func (c *candidate) best() predict.Millis {
	for _, t := range [...]predict.Millis{c.mid, c.long, c.veryLong} {
		if t.Known() {
			return t
		}
	}
	return predict.Unknown
}

func (p *Policy) predict(r *policy.Request, n streaming.Intents) {
	size, tls := n.SegmentSize(), predict.TLS(r)
	p.cands = p.cands[:0]
	for _, q := range r.Prefixes {
		rtt, reuse := predict.Millis(predict.Value(policy.MetricSRTTMin, q)), shape.Count(r.Sockets, q) > 0
		by := func(m policy.Metric) predict.Millis {
			return predict.Completion(size, policy.BytesPerSecond(predict.Value(m, q)), rtt, reuse, tls)
		}
		p.cands = append(p.cands, candidate{
			prefix:    q,
			short:     by(policy.MetricDownSMAMax),
			mid:       by(policy.MetricDownSMAMaxMid),
			long:      by(policy.MetricDownSMAMaxLong),
			veryLong:  by(policy.MetricDownSMAMaxVeryLong),
			notPicked: p.notPicked.Of(q.ID),
		})
	}
}

// These functions select a window, for fastest.
func short(c *candidate) predict.Millis    { return c.short }
func mid(c *candidate) predict.Millis      { return c.mid }
func long(c *candidate) predict.Millis     { return c.long }
func veryLong(c *candidate) predict.Millis { return c.veryLong }

// fastest returns the candidate with the shortest load time, nil if no time is known.
func (p *Policy) fastest(window func(*candidate) predict.Millis) *candidate {
	var best *candidate
	for i := range p.cands {
		c := &p.cands[i]
		if t := window(c); t > 0 && t.Known() && (best == nil || t < window(best)) {
			best = c
		}
	}
	return best
}

// segment chooses the prefix of the next segment, nil if nothing can be predicted.
// buffer is the play-out buffer in milliseconds; 0 or less means that playing has not
// started.
func (p *Policy) segment(buffer int64) (*candidate, string) {
	c, reason := p.fastest(mid), reasonMid
	if c == nil {
		c, reason = p.fastest(long), reasonLong
	}
	if c == nil {
		c, reason = p.fastest(veryLong), reasonVeryLong
	}
	if c == nil {
		return nil, ""
	}
	variant, switched := p.optimist, reasonOptimist
	if p.pessimist {
		variant, switched = p.pessimistic, reasonPessimist
	}
	if other := variant(c, predict.Millis(buffer)); other != c {
		return other, switched
	}
	return c, reason
}

// optimist moves to the prefix that was fastest over 10 minutes in two cases: the
// prefix was not used for a while and the buffer is large enough to try it, or staying
// is not safe either.
func (p *Policy) optimist(c *candidate, buffer predict.Millis) *candidate {
	other := p.fastest(veryLong)
	switch {
	case other == nil || other == c:
	case buffer <= 0 && other.notPicked > 0:
		return other
	case other.notPicked <= reconsider:
	case safety*other.long < buffer,
		safety*c.long > buffer && other.long < c.long,
		other.notPicked > retry:
		return other
	}
	return c
}

// pessimistic moves to the prefix that is fastest now, if the segment could take longer
// than it plays. Original: defect, for its higher level of concern, which is left out
// here.
func (p *Policy) pessimistic(c *candidate, buffer predict.Millis) *candidate {
	if buffer <= 0 {
		return c
	}
	worst := c.short
	if !worst.Known() {
		worst = c.mid
	}
	if worst <= segmentMillis {
		return c
	}
	if worst > max(buffer, segmentMillis) && c.notPicked > 0 && c.mid < segmentMillis {
		return c // the slow second was long ago: the prefix was not used since
	}
	if other := p.fastest(short); other != nil && other != c && (other.short < buffer || other.short < c.short) {
		return other
	}
	return c
}

// scores returns the compared figures. All terms share one allocation.
func (p *Policy) scores(chosen *policy.Prefix, note string) []policy.Score {
	const n = 6
	terms := make([]policy.Term, 0, n*len(p.cands))
	scores := make([]policy.Score, len(p.cands))
	for i := range p.cands {
		c := &p.cands[i]
		from := len(terms)
		terms = append(terms, predict.Term(policy.MetricSRTTMin, "min rtt", policy.Milliseconds, c.prefix))
		for _, t := range [...]struct {
			name   string
			time   predict.Millis
			metric policy.Metric
		}{
			{"by 1 s", c.short, policy.MetricDownSMAMax},
			{"by 10 s", c.mid, policy.MetricDownSMAMaxMid},
			{"by 1 min", c.long, policy.MetricDownSMAMaxLong},
			{"by 10 min", c.veryLong, policy.MetricDownSMAMaxVeryLong},
		} {
			v := float64(t.time)
			if !t.time.Known() {
				v = math.NaN()
			}
			terms = append(terms, policy.Term{Name: t.name, Unit: policy.Milliseconds, Value: v, Time: t.metric.Time(c.prefix)})
		}
		terms = append(terms, policy.Term{Name: "not picked", Unit: policy.Count, Value: float64(c.notPicked)})
		scores[i] = policy.Score{Prefix: c.prefix, Predicted: c.best().Duration(), Terms: terms[from:len(terms):len(terms)]}
		if c.prefix == chosen {
			scores[i].Note = note
		}
	}
	return scores
}
