// A plugin that can be opened.
package main

import "github.com/socket-intents/mamma/policy"

// version is set by the linker, so that builds of this plugin differ.
var version = "first"

type plain struct{}

func (plain) Choose(*policy.Request) policy.Decision { return policy.Decision{Reason: version} }

// New makes the policy.
func New(policy.Config) (policy.Policy, error) { return plain{}, nil }

func main() {}
