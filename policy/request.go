package policy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Kind says what a client asks.
type Kind uint8

// The kinds of request (doc/original/wire-protocol.md section 6).
const (
	Connect       Kind = iota // a socket exists and its remote address is known
	Resolve                   // a name is to be resolved and nothing else
	SocketConnect             // a name is to be resolved and a new socket opened
	SocketChoose              // like SocketConnect, with idle sockets offered for reuse
)

// String returns the words for k in which decisions are shown.
func (k Kind) String() string {
	switch k {
	case Connect:
		return "connect"
	case Resolve:
		return "resolve"
	case SocketConnect:
		return "socketconnect"
	case SocketChoose:
		return "socketchoose"
	}
	return "unknown"
}

// Family is the address family that a request states.
type Family uint8

// The families. Unspecified means that either will do.
const (
	Unspecified Family = iota
	IPv4
	IPv6
)

// String is "IPv4", "IPv6" or "unspecified".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "unspecified"
}

// FamilyOf gives the family of a. An IPv4-mapped IPv6 address counts as IPv6;
// the zero Addr is Unspecified.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return Unspecified
}

// Transport is stream or datagram.
type Transport uint8

// The transports. Anything that is not a datagram socket counts as a stream.
const (
	Stream Transport = iota
	Datagram
)

// String is "stream" or "datagram".
func (t Transport) String() string {
	if t == Datagram {
		return "datagram"
	}
	return "stream"
}

// Network is the transport and the family of the requested socket.
type Network struct {
	Transport Transport
	Family    Family
}

// Request is a question to a policy. It is valid during the call only.
type Request struct {
	Kind    Kind
	Intents intent.Set // raw integers as on the wire; each policy documents how it reads them
	Network Network
	Host    string // "" if the client gave none
	// Service is the service as the client gave it. Port is its number, 0 if unknown.
	// Policies that take "443" for TLS compare Service, as the Socket Intents prototype
	// does (doc/original/policies.md 3.5).
	Service string
	Port    uint16
	Remote  netip.AddrPort // Connect only, else invalid
	// Bound is the local address if the application bound the socket itself, else
	// invalid. The unspecified address, 0.0.0.0 or ::, means that the application has
	// chosen a port but no network.
	Bound netip.Addr
	// Prefixes are the candidates: the prefixes that are enabled, usable and of a
	// fitting family. IPv4 comes before IPv6; within a family they are in prefix-list
	// order (doc/original/daemon.md 10.5). The list may be empty, see Aside. The slice
	// belongs to the manager; the prefixes are immutable and may be kept.
	Prefixes []*Prefix
	// StandIn is set while the prefix marked default is kept back because it does not
	// work or costs too much. It is the one of Prefixes that is used instead. It is nil
	// otherwise.
	StandIn *Prefix
	// Aside explains empty Prefixes. If it is true, no managed network leads to the
	// destination: it is this host itself, a bridge of containers, or the network of an
	// interface that is not managed. If it is false, no managed network is left, or
	// none of the family. The kernel may then have other networks, about which the
	// policy is not told.
	Aside bool
	// DestStats holds, for each of Prefixes at the same index, the figures of its
	// connections to the network of Remote (/24 for IPv4, /48 for IPv6). An entry is
	// zero if nothing is known. DestStats is nil if the address is not known yet, or if
	// nothing measures by destination.
	DestStats []PathStats
	// Connections holds, for each of Prefixes at the same index, the number of live TCP
	// connections that the asking user and program have there; see ConnectionsOn. It is
	// nil if nothing counts connections, or if the user is not known. A user without an
	// id in the daemon's user namespace is not known.
	Connections []Connections
	// BoundPrefix is the prefix that contains Bound, nil if none does.
	BoundPrefix *Prefix
	// Sockets are the idle sockets offered for reuse, only in a SocketChoose.
	Sockets []Socket
	App     App
	Now     time.Time
}

// DefaultPrefix returns the first candidate marked default, or else StandIn. It returns
// nil if there is neither (doc/original/policies.md 3.2).
func (r *Request) DefaultPrefix() *Prefix {
	for _, p := range r.Prefixes {
		if p.Default {
			return p
		}
	}
	return r.StandIn
}

// Socket is an idle connected socket of the client.
type Socket struct {
	FD        int32      // the client's descriptor number
	Local     netip.Addr // its suggested or requested local address; invalid if neither
	Prefix    *Prefix    // the prefix that contains Local; nil if none does
	Multipath bool       // opened with MPTCP
}

// App is the program that asks, as the peer credentials of the request socket tell.
// Unknown fields are zero. A UID of zero is unknown if PID is zero, too.
type App struct {
	UID, PID   uint32
	Command    string // as in /proc/PID/comm
	Executable string // path; often unreadable, then ""
}

// Decision is a policy's answer. The zero value means no preference: nothing is bound,
// and the kernel chooses among all networks of the host, including those that the
// policy would not choose. To forbid a network, set Only.
type Decision struct {
	Prefix     *Prefix   // bind to this prefix's first address
	Socket     *Socket   // reuse this socket; it points into Request.Sockets
	Alternates []*Prefix // what to try next, best first
	// Only means that no other networks than those of Prefix and Alternates may be
	// used. That excludes the default prefix and its stand-in, the kernel's choice, and
	// a plain dial after the others have failed. Sockets are bound to the interface.
	// Multipath is ignored, because subflows could take other networks.
	//
	// The connection is refused if neither Prefix nor Socket is set, or if the
	// application bound its socket to another prefix. Reason then says why. A client
	// turns a refusal into an error, a proxy into its reply. Clients of the Socket
	// Intents prototype, and others that do not know Only, follow it as far as they
	// can: see mamma-policy(7).
	Only       bool
	Multipath  bool // open the connection with MPTCP
	Resolution Resolution
	Options    []SocketOption // to be set on the new socket
	// Race asks for handshakes over Prefix and the first Alternate at the same moment.
	// The connection that stands first is used. This costs a few packets, and is for
	// networks whose round-trip times are not known. Clients that cannot do it begin
	// with Prefix.
	Race bool
	// Token is a number by which the policy knows the decision again: Transfer has it,
	// too. 0 means none.
	Token uint64
	// Lease says for which further requests the decision holds; the zero value: for
	// none.
	Lease  Lease
	Reason string  // what decided, in one line for people; up to 1024 bytes are kept
	Scores []Score // the compared figures, in candidate order
}

// Refuses tells whether decision d on r refuses the connection. That is so if d has
// Only set and names nothing that could be used.
func (d *Decision) Refuses(r *Request) bool {
	switch {
	case !d.Only || d.Socket != nil:
		return false
	case r.Bound.IsValid() && !r.Bound.IsUnspecified():
		return r.BoundPrefix == nil || d.Prefix != r.BoundPrefix && !slices.Contains(d.Alternates, r.BoundPrefix)
	}
	return d.Prefix == nil
}

// Resolution says which resolver should look up the request's name.
type Resolution uint8

const (
	// ResolveOnPrefix asks the resolver of Decision.Prefix. If that is nil, it asks the
	// resolver of Request.BoundPrefix, and without that the default resolver.
	ResolveOnPrefix Resolution = iota
	// ResolveDefault asks the default resolver.
	ResolveDefault
	// ResolveNever resolves nothing, so that the client does it itself.
	ResolveNever
)

// SocketOption is an option that the client should set before it connects.
type SocketOption struct {
	Level, Name int32
	Value       []byte // host byte order, as setsockopt takes it
	Optional    bool   // connect even if the option cannot be set
}

// Score holds the figures that a policy compared for one candidate. They are kept as
// values and turned into text only when somebody reads them.
type Score struct {
	Prefix *Prefix
	// Predicted is the predicted completion time; 0 is "no prediction".
	Predicted time.Duration
	Terms     []Term // inputs and intermediate results, in the order to show them
	Note      string // short remark, for instance "shortest"
}

// Term is one input or intermediate result of a Score.
type Term struct {
	Name  string // lower case, as a table heading: "rtt", "free capacity", "latency part"
	Unit  Unit
	Value float64   // in Unit; NaN if unknown
	Time  time.Time // when an input was measured; zero if it was computed
}

// Unit is the unit of a Term.
type Unit uint8

// The units.
const (
	None         Unit = iota
	Milliseconds      // shown as ms, or s where large
	ByteRate          // bytes per second, shown as Mbit/s
	Bytes
	Count
	Probability // 0 to 1
)
