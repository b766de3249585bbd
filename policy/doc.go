// Package policy is the contract between the Multi Access Manager and its policies:
// what a policy is told, and what it may answer.
//
// A policy is a pure function of request, snapshot and its own state. It does no I/O,
// reads no clock and keeps no globals. The manager calls it on the request path, one
// call at a time, so a policy needs no locks and must not block.
//
// # Contract
//
// A policy must implement [Policy]. It becomes known by a function New in package main
// of a plugin, or by an entry of a [Catalogue]. Further interfaces are optional. A
// policy that decides more implements [ResolveChooser], [SubflowChooser],
// [SubflowHedger] or [Reconfigurer]. A policy that learns between requests implements [Observer],
// [ConnectionObserver], [LeaseObserver] or [Revoker]. A policy that holds resources has
// a method Close() error. Package policytest helps to test a policy.
//
// # Logs of the Socket Intents prototype
//
// [LineLogger], [Annotator] and [AnnotateDefault] only serve people who evaluate logs
// in the format of the Socket Intents prototype. New policies need none of them:
// mammactl and the decision log show [Decision].Reason and Scores.
//
// The package is a leaf: it imports only the intent vocabulary and the standard
// library. The reason is that the daemon refuses a Go plugin as soon as a package that
// both share has changed.
package policy

// Policy decides over which network connections go. Choose is the only method that a
// policy must have. The manager finds out by type assertion which of the interfaces
// below a policy implements besides.
type Policy interface {
	// Choose decides on a Connect, SocketConnect or SocketChoose request. The request
	// and everything it points to are valid during the call only; the prefixes may be
	// kept. A Decision may name only prefixes and sockets of the request. The zero
	// Decision means no preference.
	Choose(*Request) Decision
}

// ResolveChooser is implemented by policies that also decide on requests that only
// resolve a name. Only Prefix and Resolution of the Decision count. If a policy lacks
// this method, the manager asks the default resolver.
type ResolveChooser interface {
	ChooseResolver(*Request) Decision
}

// Reconfigurer takes configuration strings at run time, as the Socket Intents prototype
// does by its FIFO (on_config_request). An error leaves the policy as it was. Calls are
// never concurrent with Choose.
type Reconfigurer interface {
	Reconfigure(text string, prefixes []*Prefix) error
}
