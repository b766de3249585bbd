// The plugin is policy video as a shared object, for -buildmode=plugin.
package main

import (
	"github.com/socket-intents/mamma/policies/video"
	"github.com/socket-intents/mamma/policy"
)

// New is the symbol that the daemon looks up.
func New(cfg policy.Config) (policy.Policy, error) { return video.New(cfg) }

func main() {}
