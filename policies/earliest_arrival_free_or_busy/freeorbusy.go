// Package earliestarrivalfreeorbusy is policy threshold with another capacity in its
// latency test: a link that is used for more than half counts as full, and one used for
// less than a tenth as idle (doc/original/policies.md section 11).
package earliestarrivalfreeorbusy

import (
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/predict"
	"github.com/socket-intents/mamma/policy"
)

// Policy is the free-or-busy policy. Its state is that of the latest decision.
type Policy struct{ arrival.Base }

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile. Predictions use the plain estimate
// of the capacity; only the latency test differs from that of policy threshold.
func New(cfg policy.Config) (policy.Policy, error) {
	return arrival.New(cfg, &struct{}{}, func(base arrival.Base) policy.Policy {
		base.TestCapacity = predict.FreeOrBusyCapacity
		return &Policy{base}
	})
}
