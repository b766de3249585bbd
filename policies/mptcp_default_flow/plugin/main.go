// The plugin is policy mptcp_default_flow as a shared object, for -buildmode=plugin.
package main

import (
	mptcpdefaultflow "github.com/socket-intents/mamma/policies/mptcp_default_flow"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return mptcpdefaultflow.New(cfg) }

func main() {}
