// Package threshold is the policy with a latency test. A transfer that latency
// dominates goes over the prefix with the lowest round-trip time. Every other transfer
// goes where it is predicted to be complete first (doc/original/policies.md section
// 10). Streams of datagrams are placed by delay, jitter and loss, which the prototype does
// not do.
package threshold

import (
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/datagrams"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// Policy is the threshold policy.
type Policy struct {
	arrival.Base
}

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile.
func New(cfg policy.Config) (policy.Policy, error) {
	return arrival.New(cfg, &struct{}{}, func(base arrival.Base) policy.Policy {
		base.TestCapacity = predict.FreeCapacity
		return &Policy{Base: base}
	})
}

// Choose places a stream of datagrams where it is heard best, and everything else as the
// Socket Intents prototype does.
func (p *Policy) Choose(r *policy.Request) policy.Decision {
	if datagrams.IsStream(r) {
		return datagrams.Choose(r, func(i int) policy.BytesPerSecond { return datagrams.Configured(r.Prefixes[i]) })
	}
	d := p.Base.Choose(r)
	datagrams.Narrow(r, &d.Lease)
	return d
}

// LogLine returns the line of the prototype's log, whose columns have no place for a
// stream of datagrams.
func (p *Policy) LogLine(r *policy.Request, d policy.Decision) string {
	if datagrams.IsStream(r) {
		return ""
	}
	return p.Base.LogLine(r, d)
}
