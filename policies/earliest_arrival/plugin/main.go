// The plugin is policy earliest_arrival as a shared object, for -buildmode=plugin.
package main

import (
	earliestarrival "github.com/socket-intents/mamma/policies/earliest_arrival"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return earliestarrival.New(cfg) }

func main() {}
