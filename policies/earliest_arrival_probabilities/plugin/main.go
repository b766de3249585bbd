// The plugin is policy earliest_arrival_probabilities as a shared object, for -buildmode=plugin.
package main

import (
	earliestarrivalprobabilities "github.com/socket-intents/mamma/policies/earliest_arrival_probabilities"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return earliestarrivalprobabilities.New(cfg) }

func main() {}
