// The plugin is policy earliest_arrival_countconns as a shared object, for -buildmode=plugin.
package main

import (
	earliestarrivalcountconns "github.com/socket-intents/mamma/policies/earliest_arrival_countconns"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return earliestarrivalcountconns.New(cfg) }

func main() {}
