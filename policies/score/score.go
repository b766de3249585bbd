// Package score is the policy whose rule is written in the configuration. The rule is
// an expression that gives each candidate a figure. The candidate with the lowest or
// highest figure wins. Users need no compiler, and a decision costs a microsecond or
// two.
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

// Policy is the score policy. It has no state but buffers.
type Policy struct {
	figure  func(*env) float64
	highest bool            // wins, else the lowest
	require func(*env) bool // nil: nothing is required
	inputs  []input         // that the figure reads of a candidate
	lease   policy.Lease    // of every decision, if counted is false
	counted bool            // idle sockets are, so a lease needs that there is none
	scores  []float64       // per candidate; not a number: unscored
	barred  []bool          // per candidate: it does not meet the requirement
	env     env             // of the call
}

var (
	_ policy.Policy    = (*Policy)(nil)
	_ policy.Annotator = (*Policy)(nil)
)

// New makes the policy. Of the settings minimize and maximize exactly one must be
// given; require is optional. Prefixes may override metrics.
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
				misspelt = true // its error names those that there are
				unknown := &policy.UnknownSettingError{Name: s.Name, Block: s.Block, Known: []string{"maximize", "minimize", "require"}}
				errs = append(errs, &policy.SettingError{Setting: *s, Err: unknown})
			}
		}
	}
	if figure == nil && !misspelt {
		errs = append(errs, errors.New(`policy "score" needs a setting minimize or maximize`))
	}
	errs = append(errs, cfg.CheckPrefixes(&struct{}{}, policy.MetricNames()...))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.grant(reads)
	return p, nil
}

// grant makes the lease of every decision: it holds as long as nothing changes that one
// of the expressions reads. There is none where connections are counted.
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

// Choose suggests the candidate with the best score, the first of equal ones, and
// the default one if none has a score. An idle socket on it is reused. A socket
// that the application bound stays as it is. What does not meet the requirement is
// not used, whoever would choose it.
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

// winner is why the best candidate is taken.
func (p *Policy) winner() (reason, note string) {
	if p.highest {
		return reasonHighest, "highest"
	}
	return reasonLowest, "lowest"
}

// chooseOnly decides where there is a requirement, as Choose does where there is
// none; best is the index of the best candidate, -1 if none has a score. Destinations
// aside are not for this: they are reached over no managed network, and nothing can be
// required of these.
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

// chooseBound decides about a socket that the application has bound. Where something is
// required, it may go on if it is bound to a prefix that meets that. If it is bound to a
// port only, the best prefix is the only one. An address of this host that lies in no
// managed prefix belongs to a network of which nothing is known: it will do for this host
// itself, and for what is reached over no managed network.
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
	d.Prefix, d.Only = r.BoundPrefix, true // routes may take an address to another network
	return d
}

// compare sets what expressions compare a candidate with.
func (p *Policy) compare(r *policy.Request) {
	if low := predict.LowestRTT(r.Prefixes, policy.MetricSRTTMin); low != nil {
		p.env.low = subject{low, shape.Count(r.Sockets, low)}
	}
}

// meets tells whether q is known to meet the requirement. It leaves the environment
// ready for the score of q.
func (p *Policy) meets(r *policy.Request, q *policy.Prefix) bool {
	e := &p.env
	e.own, e.unknown = subject{q, shape.Count(r.Sockets, q)}, false
	ok := p.require == nil || p.require(e) && !e.unknown
	e.unknown = false
	return ok
}

// score scores all candidates and returns the index of the best, -1 if none has
// a score.
func (p *Policy) score(r *policy.Request) int {
	e := &p.env
	*e = env{r: r}
	defer func() { *e = env{} }() // the request is the caller's
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

// rank orders the candidates: the best score first, those without score last.
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

// explain adds score and inputs to the scores of a decision; all terms share one
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
