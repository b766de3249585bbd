// The plugin is policy earliest_arrival_static as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/mam/policy"
	earliestarrivalstatic "github.com/socket-intents/mamma/policies/earliest_arrival_static"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return earliestarrivalstatic.New(cfg) }

func main() {}
