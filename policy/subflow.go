package policy

import (
	"net/netip"
	"time"
)

// SubflowChooser is implemented by policies that decide which subflows an MPTCP
// connection gets besides its first one (RFC 8684). For other policies the manager uses
// DefaultSubflows. The rules of Choose hold here too: calls are never concurrent, the
// request is valid during the call only, and only its prefixes and remote addresses may
// be named.
type SubflowChooser interface {
	// ChooseSubflows names the subflows that a connection should have. It is called
	// when more than one becomes possible, and again when the host's networks, the
	// peer's addresses, or the policy's configuration change. A named subflow is opened
	// unless it exists. A subflow that is not named is not opened, and an existing one
	// is closed only if its prefix is gone. nil means that the first subflow remains
	// the only one.
	ChooseSubflows(*SubflowRequest) []Subflow
}

// SubflowHedger is implemented by SubflowChoosers that keep networks back until a
// connection is late. This needs a path manager that asks about single connections, see
// SubflowRequest.
type SubflowHedger interface {
	SubflowChooser
	// Late tells whether a connection is so far behind what was expected of it that
	// another network should help. It is called some four times a second while the
	// connection has carried something in the last few seconds. If it returns true,
	// ChooseSubflows is called with the same request and Late set. Both calls may be
	// repeated while the connection stays behind.
	Late(*SubflowRequest) bool
}

// SubflowRequest is the question of which subflows a connection should have.
//
// If the kernel manages the paths, single connections cannot be decided on. The policy
// is then asked once for all of them, with only Prefixes and Now set. The subflows that
// it names become endpoints for every connection.
type SubflowRequest struct {
	// Request is what the application asked for when it opened the connection, without
	// candidates and sockets. It is nil if that is not known, for instance for programs
	// that do not ask.
	Request *Request
	// Local and Remote are the addresses of the first subflow.
	Local, Remote netip.AddrPort
	// First is the prefix of the first subflow. It is nil if that prefix is not
	// managed, or if the first subflow is gone.
	First *Prefix
	// Prefixes are the candidates as in a Request: those that reach one of Remotes.
	// First is among them.
	Prefixes []*Prefix
	// Remotes are the addresses that subflows may connect to. They are Remote, unless
	// the peer refuses that, and then the other addresses that the peer has announced.
	Remotes []netip.AddrPort
	Now     time.Time

	// The fields below are set for a SubflowHedger only.

	// Predicted is how long the policy thought that the transfer would take over First,
	// when it decided; see Score. It is 0 if that is not known.
	Predicted time.Duration
	// Late tells that the hedger has found the connection late before. It stays set
	// while the connection lasts.
	Late bool
	// Progress is what the connection had carried when it was found late last, and in
	// the question whether it is late, what it has carried by now.
	Progress Progress
}

// Progress is what an MPTCP connection has carried, over all of its subflows, in its present
// exchange. An exchange begins with the connection, or when this host has sent something
// after nothing has come for a second. The zero value means that nothing is known.
type Progress struct {
	Age            time.Duration // since the exchange began
	Quiet          time.Duration // since something came last, or since the exchange began
	Sent, Received uint64        // bytes that the peer has acknowledged, and that have come
	First          bool          // the exchange is the first one of the connection
}

// All tells whether the request is about all connections at once.
func (r *SubflowRequest) All() bool { return !r.Remote.IsValid() }

// Subflow is one subflow that a connection should have.
type Subflow struct {
	Prefix *Prefix // from this prefix's first address
	// Remote is one of Remotes, of the prefix's family. If it is invalid, the first
	// such is used.
	Remote netip.AddrPort
	// Backup subflows carry data only if no other can.
	Backup bool
}

// DefaultSubflows chooses for policies that do not implement SubflowChooser. It names a subflow
// from each usable prefix that has none yet. Prefixes that cost money or are in doubt
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
