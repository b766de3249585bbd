// Package datagrams places streams of datagrams, such as calls. Such a stream cannot be
// split over networks, and few programs can move it to another network later. So the network
// has to be good for as long as the stream lasts. Its delay, the variation of the delay and
// its loss matter. Its capacity matters only if it is less than the stream needs.
package datagrams

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/emodel"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

// Reason is the reason of Choose.
const Reason = "stream of datagrams: best by delay, jitter and loss"

const (
	// long is from which stated duration on a flow is a stream.
	long = 10 * time.Second
	// These figures are assumed of a network that is not measured now. With them the
	// network is good enough for a stream, but any network that is known to be good is
	// preferred.
	assumedRTT    = 100  // milliseconds
	assumedJitter = 10   // milliseconds
	assumedLoss   = 0.02 // of 1
	// loyalty is by how much the rating of another network must exceed that of a default
	// one. Nobody hears a smaller difference.
	loyalty = 3
	// inDoubt is what a network in doubt costs: more than any rating, so that it comes after
	// all others.
	inDoubt = 200
)

// IsStream tells whether r is a request for a stream of datagrams: by its category or, if
// it has none, because it is to last for long.
func IsStream(r *policy.Request) bool {
	if r.Network.Transport != policy.Datagram || r.Bound.IsValid() || len(r.Prefixes) == 0 {
		return false
	}
	if c, ok := r.Intents.Category(); ok {
		return c == intent.CategoryStream
	}
	d, ok := r.Intents.Duration()
	return ok && d >= long
}

// Narrow keeps the lease of a decision on r from holding for streams, which the intents
// tell from other datagrams. Requests must be those that IsStream is false of.
func Narrow(r *policy.Request, l *policy.Lease) {
	if r.Network.Transport == policy.Datagram {
		l.Ignored &^= policy.MaskOf(intent.OptCategory, intent.OptDuration)
	}
}

// Choose places a stream of datagrams on the network with the highest rating by the
// E-model. Requests must be those that IsStream is true of. The function capacity returns
// the rate that the network of the i-th prefix can carry; 0 if that is not known.
func Choose(r *policy.Request, capacity func(i int) policy.BytesPerSecond) policy.Decision {
	need := needOf(r.Intents)
	costs := make([]float64, len(r.Prefixes))
	d := policy.Decision{Reason: Reason, Scores: make([]policy.Score, len(r.Prefixes))}
	best := 0
	for i, p := range r.Prefixes {
		f := figuresOf(r, i)
		rating := f.rating(need, capacity(i))
		costs[i] = 100 - rating
		if !p.Default {
			costs[i] += loyalty
		}
		if p.Health.State != policy.Up {
			costs[i] += inDoubt
		}
		if costs[i] < costs[best] {
			best = i
		}
		d.Scores[i] = policy.Score{Prefix: p, Terms: append(f.terms(r, i), policy.Term{Name: "rating", Value: rating})}
	}
	d.Prefix = r.Prefixes[best]
	d.Scores[best].Note = "chosen"
	d.Alternates = shape.Ranked(r, d.Prefix, func(i int) float64 { return costs[i] })
	shape.Reuse(r, &d, nil)
	return d
}

// needOf returns the rate that a stream needs by its intents; 0 if they do not say.
func needOf(s intent.Set) policy.BytesPerSecond {
	if rate, ok := s.Bitrate(); ok && rate > 0 {
		return policy.BytesPerSecond(float64(rate) / 8)
	}
	size, sized := s.FileSize()
	if d, ok := s.Duration(); ok && sized && size > 0 && d > 0 {
		return policy.BytesPerSecond(float64(size) / d.Seconds())
	}
	return 0
}

// Configured returns the download rate that the configuration states for p; 0 if it states
// none. The highest measured rate is none: perhaps nobody has asked for more.
func Configured(p *policy.Prefix) policy.BytesPerSecond {
	if rate, ok := p.Options.Number(policy.MetricDownRateMax.String()); ok && rate > 0 {
		return policy.BytesPerSecond(rate)
	}
	return 0
}

// figures are what is known of a network on the way to a destination. NaN is not known.
type figures struct {
	rtt, jitter float64 // milliseconds
	loss        float64 // 0 to 1
}

// figuresOf returns the figures of the i-th prefix. A setting counts before a measurement
// on the way to the destination, and that before one on the way to anywhere.
func figuresOf(r *policy.Request, i int) figures {
	p := r.Prefixes[i]
	dest := policy.Prefix{Options: p.Options}
	if i < len(r.DestStats) {
		dest.Stats = r.DestStats[i]
	}
	figure := func(usable func(*policy.Prefix) bool, metrics ...policy.Metric) float64 {
		for _, from := range []*policy.Prefix{&dest, p} {
			for _, m := range metrics {
				_, set := p.Options.Number(m.String())
				if v, ok := m.Known(from); ok && (set || usable(from)) && v >= 0 && v < math.MaxFloat64 {
					return v
				}
			}
		}
		return math.NaN()
	}
	always := func(*policy.Prefix) bool { return true }
	// When its last connection has ended, the loss of a network is 0 and its round-trip
	// time the least one of ten minutes. So 0 says nothing then.
	inUse := func(p *policy.Prefix) bool { return p.Stats.Conns > 0 }
	return figures{
		rtt:    figure(always, policy.MetricSRTTMedian, policy.MetricSRTTMin),
		jitter: figure(inUse, policy.MetricRTTVarMedian),
		loss:   figure(inUse, policy.MetricLossUp),
	}
}

// rating returns the rating of the network, from 0 to 93, for a stream that needs the given
// rate. A rate or a capacity of 0 is not known.
//
// The player waits until nearly all packets have come. TCP waits for a round trip and
// four mean deviations (RFC 6298), so half of both is taken for one direction.
func (f *figures) rating(need, capacity policy.BytesPerSecond) float64 {
	or := func(v, assumed float64) float64 {
		if math.IsNaN(v) {
			return assumed
		}
		return v
	}
	loss := min(or(f.loss, assumedLoss), 1)
	if capacity > 0 && need > capacity {
		loss = 1 - (1-loss)*float64(capacity/need) // what does not fit is lost
	}
	const most = 1e6 // milliseconds, so that no setting overflows
	delay := min(or(f.rtt, assumedRTT)/2+2*or(f.jitter, assumedJitter), most)
	return emodel.Rating(time.Duration(delay*float64(time.Millisecond)), loss, 1)
}

// terms are the figures as they are shown.
func (f *figures) terms(r *policy.Request, i int) []policy.Term {
	p := r.Prefixes[i]
	return []policy.Term{
		{Name: "rtt", Unit: policy.Milliseconds, Value: f.rtt, Time: policy.MetricSRTTMedian.Time(p)},
		{Name: "jitter", Unit: policy.Milliseconds, Value: f.jitter, Time: policy.MetricRTTVarMedian.Time(p)},
		{Name: "loss", Unit: policy.Probability, Value: f.loss, Time: policy.MetricLossUp.Time(p)},
	}
}
