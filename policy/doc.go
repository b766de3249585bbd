// Package policy is the contract between the Multi Access Manager and its
// policies: what a policy is told, and what it may answer.
//
// A policy is a pure function of request, snapshot and its own state. It does
// no I/O, reads no clock and keeps no globals; the manager calls it inline, one
// call at a time, so it needs no locks and must not block.
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

// LineLogger is implemented by policies that keep the original's log. LogLine
// gives the line for the decision just made, without the newline, which the
// manager adds; "" is no line. "<ts>" at its start, where the original has a
// time stamp, stands for the seconds and microseconds, which the manager fills
// in. It is called only while LogFile names a file, directly after Choose and
// before its next call, with that call's request and decision: a policy may take
// figures from its own fields. The manager writes off the request path.
type LineLogger interface {
	LogFile() string
	LogLine(*Request, Decision) string
}

// Annotator adds to the line that the daemon prints for a prefix's address when
// the policy is loaded, for instance " (default)". See AnnotateDefault.
type Annotator interface {
	Annotate(*Prefix) string
}

// AnnotateDefault is the annotation that most policies use: " (default)" behind
// default prefixes.
func AnnotateDefault(p *Prefix) string {
	if p.Default {
		return " (default)"
	}
	return ""
}
