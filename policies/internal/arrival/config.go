package arrival

import (
	"errors"

	"github.com/socket-intents/mamma/policy"
)

// unused are settings that the original's configuration files carry though no
// function that reads them is ever called (doc/original/policies.md section 2).
var unused = []string{"utilization_threshold", "penalize_by_utilization"}

// New reads the family's one setting, logfile, checks those of the prefixes against
// the struct that prefix points to, metrics being known too, and lets build make
// the policy of what it has read.
func New(cfg policy.Config, prefix any, build func(Base) policy.Policy) (policy.Policy, error) {
	var opts struct {
		LogFile string `mam:"logfile"`
	}
	err := errors.Join(
		cfg.Decode(&opts),
		cfg.CheckPrefixes(prefix, append(policy.MetricNames(), unused...)...))
	if err != nil {
		return nil, err
	}
	return build(Base{File: opts.LogFile}), nil
}
