// The plugin is policy score as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/mam/policy"
	"github.com/socket-intents/mamma/policies/score"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return score.New(cfg) }

func main() {}
