// The plugin is policy filesize as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/policies/filesize"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return filesize.New(cfg) }

func main() {}
