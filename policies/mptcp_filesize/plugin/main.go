// The plugin is policy mptcp_filesize as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/mam/policy"
	mptcpfilesize "github.com/socket-intents/mamma/policies/mptcp_filesize"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return mptcpfilesize.New(cfg) }

func main() {}
