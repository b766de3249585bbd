// A plugin whose New is not a constructor of a policy.
package main

import "github.com/socket-intents/mamma/policy"

// New lacks the error.
func New(policy.Config) policy.Policy { return nil }

func main() {}
