// The plugin is policy mptcp_filesize as a shared object, for -buildmode=plugin.
package main

import (
	mptcpfilesize "github.com/socket-intents/mamma/policies/mptcp_filesize"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return mptcpfilesize.New(cfg) }

func main() {}
