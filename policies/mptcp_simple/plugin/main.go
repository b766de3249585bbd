// The plugin is policy mptcp_simple as a shared object, for -buildmode=plugin.
package main

import (
	mptcpsimple "github.com/socket-intents/mamma/policies/mptcp_simple"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return mptcpsimple.New(cfg) }

func main() {}
