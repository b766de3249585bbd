package policy

import (
	"net/netip"
	"time"
)

// SubflowChooser is implemented by policies that decide which subflows an MPTCP
// connection gets besides its first one (RFC 8684). For other policies the
// manager uses DefaultSubflows. Calls are never concurrent with Choose, and its
// rules hold: the request is valid during the call only, and only its prefixes
// and remote addresses may be named.
type SubflowChooser interface {
	// ChooseSubflows names the subflows that a connection should have. It is
	// called when more than one becomes possible, and again whenever the host's
	// networks, the peer's addresses, or the policy's configuration change.
	// What is named is opened unless it is there; what is not named is not
	// opened, but closed only if its prefix is gone. nil: the first subflow
	// remains the only one.
	ChooseSubflows(*SubflowRequest) []Subflow
}

// SubflowRequest is what a policy decides about subflows on.
//
// Where the kernel manages paths, a connection cannot be decided on by itself:
// the policy is asked once about all of them, with everything but Prefixes and
// Now left zero, and what it names becomes an endpoint for every connection.
type SubflowRequest struct {
	// Request is what the application asked for when it opened the connection,
	// without candidates and sockets; nil if that is not known, as for programs
	// that do not ask.
	Request *Request
	// Local and Remote are those of the first subflow.
	Local, Remote netip.AddrPort
	// First is the prefix that the first subflow runs on; nil if that is not
	// managed, or the first subflow is gone.
	First *Prefix
	// Prefixes are the candidates as in a Request, First among them: those that
	// reach one of Remotes.
	Prefixes []*Prefix
	// Remotes are where subflows may go: Remote, unless the peer refuses that,
	// and then what else it has announced.
	Remotes []netip.AddrPort
	Now     time.Time
}

// All tells whether the request is about all connections at once.
func (r *SubflowRequest) All() bool { return !r.Remote.IsValid() }

// Subflow is one that a connection should have.
type Subflow struct {
	Prefix *Prefix // from this prefix's first address
	// Remote is one of Remotes, of the prefix's family. Invalid: the first such.
	Remote netip.AddrPort
	// Backup subflows carry data only if no other can.
	Backup bool
}

// DefaultSubflows is the choice for policies that make none: a subflow from each
// usable prefix that has none yet. Prefixes that cost money or are in doubt
// serve as backup.
func DefaultSubflows(r *SubflowRequest) []Subflow {
	var list []Subflow
	for _, p := range r.Prefixes {
		if r.First != nil && p.ID == r.First.ID {
			continue
		}
		list = append(list, Subflow{Prefix: p, Backup: p.Cost != Free || p.Health.State != Up})
	}
	return list
}
