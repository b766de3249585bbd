// The plugin is policy threshold as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/policies/threshold"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return threshold.New(cfg) }

func main() {}
