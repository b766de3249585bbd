// Package score is the policy whose rule is written in the configuration. The rule is
// an expression that gives each candidate a figure. The candidate with the lowest or
// highest figure wins. So users can write policies without a compiler, and a decision
// costs only a microsecond or two.
//
// The expression is compiled to closures over float64 when the policy is made.
// Evaluating it through HCL's own values would take some hundred times longer. The
// README says what an expression may contain.
package score

import (
	"errors"
	"math"
	"slices"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonLowest  = "lowest score"
	reasonHighest = "highest score"
	reasonNothing = "no prefix can be scored: default"
	reasonFirst   = "no prefix that meets the requirement can be scored: the first of them"
	reasonRefused = "no prefix meets the requirement"
	reasonNone    = "no managed network is left that could meet the requirement"
	reasonForeign = "bound to a network that is not managed, so nobody knows whether it meets the requirement"
)

// Policy is the score policy. It keeps buffers between decisions, but no state.
type Policy struct {
	figure  func(*env) float64
	highest bool            // the highest figure wins, else the lowest
	require func(*env) bool // nil: nothing is required
	inputs  []input         // what the expression reads of a candidate
	lease   policy.Lease    // lease of every decision, unless counted is set
	counted bool            // the number of idle sockets matters, so there is a lease only if there are none
	scores  []float64       // by candidate; NaN: no score
	barred  []bool          // by candidate: it does not meet the requirement
	env     env             // of the call of Choose under way
}

var (
	_ policy.Policy    = (*Policy)(nil)
	_ policy.Annotator = (*Policy)(nil)
)

// New makes the policy. Exactly one of the settings minimize and maximize must be
// given; require is optional. Settings of prefixes may override metrics.
func New(cfg policy.Config) (policy.Policy, error) {
	p := &Policy{}
	var figure *policy.Setting
	misspelt := false
	var reads []inputs
	var errs []error
	for i := range cfg.Settings {
		s := &cfg.Settings[i]
		switch s.Name {
		case "minimize", "maximize":
			if figure != nil {
				errs = append(errs, s.Errorf("%s in %s: %s is given already; one of both makes the score", s.Name, s.Block, figure.Name))
			}
			figure = s
			n, c, err := compile(*s, number)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			p.figure, p.highest, p.inputs = n.number, s.Name == "maximize", c.inputs
			reads = append(reads, c.lease)
		case "require":
			n, c, err := compile(*s, boolean)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			p.require = n.boolean
			reads = append(reads, c.lease)
		default:
			if !cfg.Lenient {
				misspelt = true // the error names the settings that exist
				unknown := &policy.UnknownSettingError{Name: s.Name, Block: s.Block, Known: []string{"maximize", "minimize", "require"}}
				errs = append(errs, &policy.SettingError{Setting: *s, Err: unknown})
			}
		}
	}
	if figure == nil && !misspelt {
		errs = append(errs, errors.New(`policy "score" needs a setting minimize or maximize, such as minimize = prefix.srtt_median_recent`))
	}
	errs = append(errs, cfg.CheckPrefixes(&struct{}{}, policy.MetricNames()...))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.grant(reads)
	return p, nil
}

// grant makes the lease of every decision. The lease holds as long as nothing changes
// that one of the expressions reads. There is no lease if an expression counts
// connections.
func (p *Policy) grant(reads []inputs) {
	var intents []intent.Option
	anyName := true
	for _, r := range reads {
		if r.connections {
			return
		}
		intents = append(intents, r.intents...)
		anyName = anyName && !r.host
		p.counted = p.counted || r.sockets
	}
	p.lease = shape.MeasuredLease(intents...)
	p.lease.AnyName = anyName
}

// Choose suggests the candidate with the best score, the first of equal ones, or the
// default one if none has a score. An idle socket on it is reused. A socket that the
// application bound stays as it is. A prefix that does not meet the requirement is
// never used.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	d := p.choose(r)
	if !p.counted || len(r.Sockets) == 0 {
		d.Lease = p.lease
	}
	return d
}

func (p *Policy) choose(r *policy.Request) policy.Decision {
	if r.Bound.IsValid() {
		return p.chooseBound(r)
	}
	best := p.score(r)
	if p.require != nil && !r.Aside {
		return p.chooseOnly(r, best)
	}
	if best < 0 {
		d := shape.Default(r, r.DefaultPrefix(), reasonNothing)
		p.explain(r, &d)
		shape.Reuse(r, &d, nil)
		return d
	}
	reason, note := p.winner()
	d := shape.Plain(r, r.Prefixes[best], reason, note)
	d.Alternates = shape.Ranked(r, d.Prefix, p.rank)
	p.explain(r, &d)
	shape.Reuse(r, &d, nil)
	return d
}

// winner returns the reason for taking the best candidate.
func (p *Policy) winner() (reason, note string) {
	if p.highest {
		return reasonHighest, "highest"
	}
	return reasonLowest, "lowest"
}

// chooseOnly decides if there is a requirement; best is the index of the best
// candidate, -1 if none has a score. It does not handle requests with Aside: their
// destinations are reached over no managed network, and of other networks nothing can
// be required.
func (p *Policy) chooseOnly(r *policy.Request, best int) policy.Decision {
	reason, note := p.winner()
	if best < 0 {
		reason, note = reasonNothing, "default"
		best = slices.Index(r.Prefixes, r.DefaultPrefix())
	}
	if best < 0 || p.barred[best] {
		reason, note = reasonFirst, "first"
		best = slices.Index(p.barred, false)
	}
	if best < 0 {
		reason = reasonRefused
		if len(r.Prefixes) == 0 {
			reason = reasonNone
		}
		d := shape.Plain(r, nil, reason, "")
		d.Only = true
		p.explain(r, &d)
		return d
	}
	d := shape.Plain(r, r.Prefixes[best], reason, note)
	d.Only = true
	d.Alternates = slices.DeleteFunc(shape.Ranked(r, d.Prefix, p.rank), func(q *policy.Prefix) bool {
		return p.barred[slices.Index(r.Prefixes, q)]
	})
	p.explain(r, &d)
	shape.Reuse(r, &d, nil)
	return d
}

// chooseBound decides on a socket that the application has bound. Without a requirement
// the socket stays as it is. With one, three cases differ. If the socket is bound to a
// prefix, the prefix must meet the requirement. If it is bound to a port only, it is
// confined to the best prefix. If it is bound to an address of this host in no managed
// prefix, nothing is known about its network, so it may only reach this host itself and
// other destinations that no managed network leads to.
func (p *Policy) chooseBound(r *policy.Request) policy.Decision {
	switch {
	case p.require == nil, r.Aside, r.Bound.Unmap().IsLoopback():
		return shape.Bound(r, policy.ResolveOnPrefix, true)
	case r.Bound.IsUnspecified():
		d := p.chooseOnly(r, p.score(r))
		d.Alternates = nil
		return d
	case r.BoundPrefix == nil:
		return policy.Decision{Only: true, Reason: reasonForeign}
	}
	e := &p.env
	*e = env{r: r}
	defer func() { *e = env{} }()
	p.compare(r)
	if !p.meets(r, r.BoundPrefix) {
		return policy.Decision{Only: true, Reason: reasonRefused}
	}
	d := shape.Bound(r, policy.ResolveOnPrefix, true)
	d.Prefix, d.Only = r.BoundPrefix, true // Only, because a route may lead packets with this address to another network
	return d
}

// compare sets the prefix that expressions compare a candidate with.
func (p *Policy) compare(r *policy.Request) {
	if low := predict.LowestRTT(r.Prefixes, policy.MetricSRTTMin); low != nil {
		p.env.low = subject{low, shape.Count(r.Sockets, low)}
	}
}

// meets tells whether q certainly meets the requirement. Afterwards the environment is
// ready to score q.
func (p *Policy) meets(r *policy.Request, q *policy.Prefix) bool {
	e := &p.env
	e.own, e.unknown = subject{q, shape.Count(r.Sockets, q)}, false
	ok := p.require == nil || p.require(e) && !e.unknown
	e.unknown = false
	return ok
}

// score scores all candidates. It returns the index of the best, or -1 if none has a
// score.
func (p *Policy) score(r *policy.Request) int {
	e := &p.env
	*e = env{r: r}
	defer func() { *e = env{} }() // the request must not be kept after the call
	p.compare(r)
	best := -1
	p.scores, p.barred = p.scores[:0], p.barred[:0]
	for i, q := range r.Prefixes {
		v := math.NaN()
		meets := p.meets(r, q)
		if meets {
			v = p.figure(e)
		}
		p.barred = append(p.barred, !meets)
		if e.unknown || math.IsInf(v, 0) {
			v = math.NaN()
		}
		p.scores = append(p.scores, v)
		if !math.IsNaN(v) && (best < 0 || p.rank(i) < p.rank(best)) {
			best = i
		}
	}
	return best
}

// rank orders the candidates: the best score first, and those without a score last.
func (p *Policy) rank(i int) float64 {
	v := p.scores[i]
	switch {
	case math.IsNaN(v):
		return math.Inf(1)
	case p.highest:
		return -v
	}
	return v
}

// explain adds figure and inputs to the scores of a decision. All terms share one
// allocation.
func (p *Policy) explain(r *policy.Request, d *policy.Decision) {
	n := 1 + len(p.inputs)
	terms := make([]policy.Term, 0, n*len(d.Scores))
	for i := range d.Scores {
		s := &d.Scores[i]
		terms = append(terms, policy.Term{Name: "score", Value: p.scores[i]})
		for j := range p.inputs {
			in := &p.inputs[j]
			v, known := in.value(r, s.Prefix)
			if !known {
				v = math.NaN()
			}
			terms = append(terms, policy.Term{Name: in.name, Unit: in.unit, Value: v, Time: in.time(s.Prefix)})
		}
		s.Terms = terms[len(terms)-n : len(terms) : len(terms)]
		if p.barred[i] {
			s.Note = "barred"
		}
		if math.IsNaN(p.scores[i]) && s.Note == "" {
			s.Note = "no score"
		}
	}
}

// Annotate marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string { return policy.AnnotateDefault(q) }
