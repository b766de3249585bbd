// The plugin is policy rr_naive as a shared object, for -buildmode=plugin.
package main

import (
	rrnaive "github.com/socket-intents/mamma/policies/rr_naive"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return rrnaive.New(cfg) }

func main() {}
