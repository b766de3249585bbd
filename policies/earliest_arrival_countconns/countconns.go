// Package earliestarrivalcountconns is policy threshold with another latency test: in
// place of the measured load it uses its own count of the transfers under way
// (doc/original/policies.md section 12).
package earliestarrivalcountconns

import (
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policy"
)

// Policy is the countconns policy. Its state is the counts of transfers.
type Policy struct{ arrival.Base }

var (
	_ policy.Policy     = (*Policy)(nil)
	_ policy.LineLogger = (*Policy)(nil)
	_ policy.Annotator  = (*Policy)(nil)
)

// New makes the policy. Its one setting is logfile.
func New(cfg policy.Config) (policy.Policy, error) {
	return arrival.New(cfg, &struct{}{}, func(base arrival.Base) policy.Policy {
		base.Counts = arrival.NewCounts()
		return &Policy{base}
	})
}
