// The plugin is policy earliest_arrival_free_or_busy as a shared object, for -buildmode=plugin.
package main

import (
	earliestarrivalfreeorbusy "github.com/socket-intents/mamma/policies/earliest_arrival_free_or_busy"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return earliestarrivalfreeorbusy.New(cfg) }

func main() {}
