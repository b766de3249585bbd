// Package policy is the contract between the Multi Access Manager and its
// policies: what a policy is told, and what it may answer.
//
// A policy is a pure function of request, snapshot and its own state. It does
// no I/O, reads no clock and keeps no globals; the manager calls it inline, one
// call at a time, so it needs no locks and must not block.
//
// # Contract
//
// A policy must implement [Policy]. It becomes known by a function New in package
// main of a plugin, or by an entry of a [Catalogue]. A policy that wants to decide
// more implements [ResolveChooser], [SubflowChooser] or [Reconfigurer] besides, one
// that learns while nobody asks [Observer], [ConnectionObserver], [LeaseObserver] and
// [Revoker]; one
// that holds resources has a method Close() error. Package policytest helps to test
// a policy.
//
// # The prototype's logs
//
// [LineLogger], [Annotator] and [AnnotateDefault] serve only those who evaluate the
// logs that policies of the Socket Intents prototype wrote. New policies leave
// them out: [Decision].Reason and Scores are what mammactl and the decision log show.
//
// The package is a leaf: it imports the intent vocabulary and the standard
// library only, because a Go plugin is refused as soon as a package that it
// shares with the daemon changed.
package policy

// Policy decides where connections go. Choose is the only method a policy must
// have; what else it can do is found by asserting the interfaces below.
type Policy interface {
	// Choose decides on a Connect, SocketConnect or SocketChoose request.
	// The request, with everything it points to but the prefixes, is valid
	// during the call only. A Decision may name only prefixes and sockets of the
	// request; the zero Decision means no preference.
	Choose(*Request) Decision
}

// ResolveChooser is implemented by policies that also decide about requests
// that only resolve a name. Of the Decision, Prefix and Resolution count. The
// manager asks the default resolver for policies without this method.
type ResolveChooser interface {
	ChooseResolver(*Request) Decision
}

// Reconfigurer takes configuration strings at run time (spec: the original's
// FIFO and on_config_request). An error leaves the policy as it was. Calls are
// never concurrent with Choose.
type Reconfigurer interface {
	Reconfigure(text string, prefixes []*Prefix) error
}
