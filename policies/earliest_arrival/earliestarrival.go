// Package earliestarrival is the policy that predicts for every prefix when the
// transfer would be complete, and chooses the prefix with the earliest time
// (doc/original/policies.md section 9).
package earliestarrival

import (
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policy"
)

// Policy is the earliest-arrival policy: the base of its family without any change. Its
// state is that of the latest decision.
type Policy struct{ arrival.Base }

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile.
func New(cfg policy.Config) (policy.Policy, error) {
	return arrival.New(cfg, &struct{}{}, func(base arrival.Base) policy.Policy { return &Policy{base} })
}

// LogLine returns the line of doc/original/policies.md section 9.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	out := p.AppendHead(nil, r)
	switch p.Result().Rule {
	case arrival.Bound:
		return ""
	case arrival.NoSize:
		out = append(out, ",,,"...)
	case arrival.Unpredictable:
		out = append(out, "0.0,"...)
	default:
		out = append(p.AppendTime(out), "0,"...) // a count that this policy never changes
	}
	return string(p.AppendChoice(out, d, "_fastest"))
}
