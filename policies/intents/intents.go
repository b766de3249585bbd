// Package intents is the policy that maps categories of traffic to prefixes: for
// instance queries to one network, and bulk transfers to another.
//
// Its decisions are those of doc/original/policies.md section 7, without the defect
// described there: a request without a category gets the default prefix.
package intents

import (
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	"github.com/socket-intents/mamma/policy"
)

const (
	reasonNoCategory = "no category given: default"
	reasonNoMatch    = "no prefix for this category: default"
)

// prefixOptions are the settings of a prefix.
type prefixOptions struct {
	Category string `mam:"category"`
}

// Policy is the intents policy. It has no state.
type Policy struct{}

var (
	_ policy.Policy    = (*Policy)(nil)
	_ policy.Annotator = (*Policy)(nil)
)

// New makes the policy. It has no settings of its own; prefixes have category. With
// cfg.Lenient an unknown category means none, as in the Socket Intents prototype.
func New(cfg policy.Config) (policy.Policy, error) {
	if err := cfg.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	if err := cfg.CheckPrefixes(&prefixOptions{}); err != nil {
		return nil, err
	}
	for _, s := range cfg.PrefixSettings {
		if s.Name != "category" || cfg.Lenient {
			continue
		}
		if _, ok := category(s.Value); !ok {
			return nil, s.Errorf("category in %s must be query, bulktransfer, controltraffic, keepalives or stream, not %q", s.Block, s.Value)
		}
	}
	return &Policy{}, nil
}

// Choose suggests the first candidate of the category that the request states, or else
// the last default one. A socket that the application bound stays as it is. An idle
// socket on the suggested prefix is reused.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	d := policy.Decision{}
	if r.Bound.IsValid() {
		d = shape.Bound(r, policy.ResolveDefault, true)
	} else {
		d = choose(r)
		shape.Reuse(r, &d, nil)
	}
	d.Lease = shape.Lease(intent.OptCategory)
	return d
}

func choose(r *policy.Request) policy.Decision {
	want, given := r.Intents.Category()
	if !given {
		return shape.Default(r, shape.LastDefault(r), reasonNoCategory)
	}
	for _, q := range r.Prefixes {
		if c, ok := category(q.Options.Text("category")); ok && c == want {
			return shape.Suggest(r, q, reason(c), c.String())
		}
	}
	return shape.Default(r, shape.LastDefault(r), reasonNoMatch)
}

// Annotate names the category of the prefix, and marks default prefixes.
func (p *Policy) Annotate(q *policy.Prefix) string {
	if c, ok := category(q.Options.Text("category")); ok {
		return " (" + c.String() + ")" + policy.AnnotateDefault(q)
	}
	return policy.AnnotateDefault(q)
}

// category reads a prefix's setting.
func category(text string) (intent.Category, bool) {
	for c := intent.CategoryQuery; c <= intent.CategoryStream; c++ {
		if c.String() == text {
			return c, true
		}
	}
	return 0, false
}

// reason returns a fixed text for each category, so that no decision has to build one.
func reason(c intent.Category) string {
	switch c {
	case intent.CategoryQuery:
		return "prefix for category query"
	case intent.CategoryBulkTransfer:
		return "prefix for category bulktransfer"
	case intent.CategoryControlTraffic:
		return "prefix for category controltraffic"
	case intent.CategoryKeepAlives:
		return "prefix for category keepalives"
	default:
		return "prefix for category stream"
	}
}
