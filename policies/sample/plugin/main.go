// The plugin is policy sample as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/policies/sample"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return sample.New(cfg) }

func main() {}
