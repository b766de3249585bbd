package arrival

import (
	"errors"

	"github.com/socket-intents/mamma/policy"
)

// unused are settings that the original's configuration files carry though no
// function that reads them is ever called (doc/original/policies.md section 2).
var unused = []string{"utilization_threshold", "penalize_by_utilization"}

// Decode reads the family's one setting, logfile, and checks those of the
// prefixes against the struct that prefix points to; metrics are known too.
func Decode(cfg policy.Config, prefix any) (Base, error) {
	var opts struct {
		LogFile string `mam:"logfile"`
	}
	err := errors.Join(
		cfg.Decode(&opts),
		cfg.CheckPrefixes(prefix, append(policy.MetricNames(), unused...)...))
	return Base{File: opts.LogFile}, err
}
