// The plugin is policy rr_naive as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/mam/policy"
	rrnaive "github.com/socket-intents/mamma/policies/rr_naive"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return rrnaive.New(cfg) }

func main() {}
