package arrival

import (
	"errors"

	"github.com/socket-intents/mamma/policy"
)

// unused are settings that stand in the original's configuration files, although the
// original never reads them (doc/original/policies.md section 2).
var unused = []string{"utilization_threshold", "penalize_by_utilization"}

// New makes a policy of the family. It reads the one setting, logfile. It checks the
// settings of prefixes against the struct that prefix points to, and accepts metrics as
// well. build makes the policy of what was read.
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
