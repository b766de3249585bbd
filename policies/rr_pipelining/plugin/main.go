// The plugin is policy rr_pipelining as a shared object, for -buildmode=plugin.
package main

import (
	rrpipelining "github.com/socket-intents/mamma/policies/rr_pipelining"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return rrpipelining.New(cfg) }

func main() {}
