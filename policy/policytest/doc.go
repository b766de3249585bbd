// Package policytest helps to test policies. It builds prefixes, requests and settings
// in a line each, runs tables of requests, and tells whether a decision keeps to the
// contract of package policy. Tests need no daemon, no network and no privileges.
//
//	wlan := policytest.Prefix("wlan0", "192.0.2.7/24", policytest.Default)
//	wwan := policytest.Prefix("wwan0", "198.51.100.7/24", policytest.Cost(policy.Metered))
//	policytest.Run(t, policytest.Make(New), []policytest.Case{
//		{Name: "nothing said", Request: policytest.Request(policy.SocketConnect, wlan, wwan),
//			Want: policytest.Answer{Prefix: "wlan0", Alternates: "wwan0", Reason: "default"}},
//	})
//
// The values that the package builds belong to the caller, who may change any field
// before a policy sees them. The package keeps no state. It imports only the contract,
// so that a policy in a module of its own needs no further module for its tests.
package policytest
