// The plugin is policy mptcp_selective as a shared object, for -buildmode=plugin.
package main

import (
	mptcpselective "github.com/socket-intents/mamma/policies/mptcp_selective"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return mptcpselective.New(cfg) }

func main() {}
