// The plugin is policy adaptive as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/policies/adaptive"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return adaptive.New(cfg) }

func main() {}
