package policies

import (
	"testing"

	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// If the default network is withheld, because it does not work or costs too much, every
// policy that would take it takes its stand-in. Without a suggestion, the kernel would
// use the network that is withheld.
func TestStandInIsTaken(t *testing.T) {
	for _, name := range All().Names() {
		for _, kind := range []policy.Kind{policy.Connect, policy.SocketConnect, policy.SocketChoose} {
			choose := func(edits ...func(*policy.Prefix)) policy.Decision {
				p, err := All().New(name, config(name))
				if err != nil {
					t.Fatal(err)
				}
				a, b := policytest.Prefix("a", "10.0.1.2/24"), policytest.Prefix("b", "10.0.2.2/24", edits...)
				r := policytest.Request(kind, a, b)
				if !b.Default {
					r.StandIn = b
				}
				return p.Choose(r)
			}
			byDefault, stood := choose(policytest.Default), choose()
			if byDefault.Prefix != nil && byDefault.Prefix.Default && stood.Prefix == nil {
				t.Errorf("%s, %v: takes the default network, but nothing in its place: %s", name, kind, stood.Reason)
			}
		}
	}
}
