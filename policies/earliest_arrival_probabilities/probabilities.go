// Package earliestarrivalprobabilities is the policy that draws the prefix at random.
// The earlier the transfer is predicted to be complete on a prefix, the likelier that
// prefix is drawn. So many clients do not all choose the same network
// (doc/original/policies.md section 14).
package earliestarrivalprobabilities

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// prefixOptions are the settings of a prefix.
type prefixOptions struct {
	PenalizeKey  string `mam:"penalize_key"`
	NormalizeKey string `mam:"normalize_key"`
}

// Policy is the probabilities policy. Its state is the counts of transfers, the random
// generator, and the latest decision.
type Policy struct {
	arrival.Base
	// Random returns the next random number, which is at least 0 and below 1. New seeds
	// it from the configuration; tests replace it.
	Random func() float64

	weights []float64 // per predicted candidate, in order
	drawn   float64   // the random number of the last draw
}

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile; prefixes have penalize_key
// and normalize_key.
func New(cfg policy.Config) (policy.Policy, error) {
	p, err := arrival.New(cfg, &prefixOptions{}, func(base arrival.Base) policy.Policy {
		p := &Policy{Base: base, Random: rand.New(rand.NewPCG(cfg.Seed, 0)).Float64}
		p.Counts = arrival.NewCounts()
		p.PlainLatency = true // as in the Socket Intents prototype
		p.Draw, p.DrawReason = p.draw, "capacity-dominated, drawn by predicted time"
		return p
	})
	if err != nil {
		return nil, err
	}
	for _, s := range cfg.PrefixSettings {
		if cfg.Lenient || s.Name != "penalize_key" && s.Name != "normalize_key" {
			continue
		}
		if _, ok := policy.ParseMetric(s.Value); !ok {
			return nil, s.Errorf("%s in %s must be a metric, not %q; known: %s", s.Name, s.Block, s.Value, strings.Join(policy.MetricNames(), ", "))
		}
	}
	return p, nil
}

// draw chooses one of the predicted candidates at random. It returns nil if there is
// none.
func (p *Policy) draw(cands []arrival.Candidate) *arrival.Candidate {
	p.weigh(cands)
	if len(p.weights) == 0 {
		return nil
	}
	if len(p.weights) > 1 {
		p.drawn = p.Random()
	}
	var last *arrival.Candidate
	var sum float64
	n := 0
	for i := range cands {
		c := &cands[i]
		if !predicted(c) {
			continue
		}
		last = c
		if sum += p.weights[n]; sum > p.drawn {
			break
		}
		n++
	}
	return last
}

func predicted(c *arrival.Candidate) bool { return c.Time.Known() && c.Time > 0 }

// weigh computes the probability of each predicted candidate.
func (p *Policy) weigh(cands []arrival.Candidate) {
	p.weights, p.drawn = p.weights[:0], 0
	penalty := penalty{key: policy.MetricRTTVarMean, known: true}
	for i := range cands {
		c := &cands[i]
		if !predicted(c) {
			continue
		}
		if len(p.weights) == 0 { // the settings of the first prefix hold for all
			penalty.configure(c.Prefix)
		}
		p.weights = append(p.weights, 1/float64(c.Time)/penalty.of(c.Prefix))
	}
	var sum float64
	for _, w := range p.weights {
		sum += w
	}
	n := 0
	for i := range cands {
		if c := &cands[i]; predicted(c) {
			p.weights[n] /= sum
			c.Probability = p.weights[n]
			n++
		}
	}
}

// penalty is a factor that makes a prefix less likely.
type penalty struct {
	key, norm         policy.Metric
	known, normalized bool
}

func (y *penalty) configure(p *policy.Prefix) {
	if len(p.Options) == 0 {
		return
	}
	if p.Options.Has("penalize_key") {
		y.key, y.known = policy.ParseMetric(p.Options.Text("penalize_key"))
	}
	y.norm, y.normalized = policy.ParseMetric(p.Options.Text("normalize_key"))
}

// of returns the metric to penalize, divided by the metric to normalize with. A metric
// that is not known or not above 0 counts as 1. Original: defect, for a normalizing
// metric of 0.
func (y *penalty) of(p *policy.Prefix) float64 {
	v, n := 1.0, 1.0
	if y.known {
		if raw := predict.Raw(y.key, p); raw > 0 {
			v = raw
		}
	}
	if y.normalized {
		if raw := predict.Raw(y.norm, p); raw > 0 {
			n = raw
		}
	}
	return v / n
}

// LogLine returns the line of doc/original/policies.md section 14. Other lines have
// three empty columns at one place. With two predictions or more, this line has the
// first two probabilities and the random number there. With one prediction the columns
// are missing, as in the Socket Intents prototype.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	if p.Result().Rule != arrival.Fastest {
		return p.Base.LogLine(r, d)
	}
	out := p.AppendHead(nil, r)
	if len(p.weights) > 1 {
		for _, v := range [...]float64{p.weights[0], p.weights[1], p.drawn} {
			out = append(strconv.AppendFloat(out, v, 'f', 6, 64), ',')
		}
	}
	out = p.AppendCounts(p.AppendTime(out))
	return string(p.AppendChoice(out, d, "_probs"))
}
