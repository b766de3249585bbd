// Package threshold is the policy with a latency test. A transfer that latency
// dominates goes over the prefix with the lowest round-trip time. Every other transfer
// goes where it is predicted to be complete first (doc/original/policies.md section
// 10).
package threshold

import (
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// Policy is the threshold policy. Its state is that of the latest decision.
type Policy struct{ arrival.Base }

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile.
func New(cfg policy.Config) (policy.Policy, error) {
	return arrival.New(cfg, &struct{}{}, func(base arrival.Base) policy.Policy {
		base.TestCapacity = predict.FreeCapacity
		return &Policy{base}
	})
}
