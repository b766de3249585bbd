// The plugin is policy mptcp_selective as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/mam/policy"
	mptcpselective "github.com/socket-intents/mamma/policies/mptcp_selective"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return mptcpselective.New(cfg) }

func main() {}
