package policy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Kind says what a client asks for.
type Kind uint8

// The kinds of request (doc/original/wire-protocol.md section 6).
const (
	Connect       Kind = iota // a socket exists, its remote address is known
	Resolve                   // a name is to be resolved, nothing else
	SocketConnect             // a name is to be resolved and a new socket opened
	SocketChoose              // as SocketConnect, but idle sockets are offered for reuse
)

// String is the kind in words, as decisions are shown with it.
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

// Family is an address family as the request states it.
type Family uint8

// The families. Unspecified means that both are welcome.
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

// Network is transport and family of the socket that is asked for.
type Network struct {
	Transport Transport
	Family    Family
}

// Request is what a policy decides on. It is valid during the call only.
type Request struct {
	Kind    Kind
	Intents intent.Set // raw integers as on the wire; each policy documents how it reads them
	Network Network
	Host    string // "" if the client gave none
	// Service is the service as the client gave it, and Port its number, 0 if
	// unknown. Policies that assume TLS for "443" compare Service, as the
	// original does (doc/original/policies.md 3.5).
	Service string
	Port    uint16
	Remote  netip.AddrPort // Connect only, else invalid
	// Bound is the local address if the application bound the socket itself, else invalid.
	// An unspecified one, 0.0.0.0 or ::, means that it has chosen a port, and no network.
	Bound netip.Addr
	// Prefixes are the candidates: enabled, usable, of a fitting family, IPv4
	// before IPv6, within a family in prefix-list order (doc/original/daemon.md 10.5).
	// It may be empty, see Aside. The slice is the manager's; the prefixes are immutable
	// and may be kept.
	Prefixes []*Prefix
	// StandIn is one of Prefixes: what is used in place of the prefix marked
	// default while that one is kept back because it does not work or costs too
	// much. It is nil otherwise.
	StandIn *Prefix
	// Aside tells, if Prefixes is empty, that the destination has a way of its own which no
	// managed network takes: this host itself, the bridge of containers, the network of
	// an interface that is not managed. Where it is false, Prefixes is empty because no
	// managed network is left, or none of the family; the kernel may have others, of which
	// the policy is not told.
	Aside bool
	// DestStats holds, for each of Prefixes at the same index, the figures of its
	// connections to the network that Remote lies in (/24 for IPv4, /48 for IPv6);
	// zero where nothing is known. It is nil if the address is not known yet or
	// nothing measures by destination.
	DestStats []PathStats
	// Connections holds, for each of Prefixes at the same index, how many live TCP
	// connections the user and the program who ask have there; see ConnectionsOn. It is
	// nil if the user is not known, as a user without an id in the daemon's user
	// namespace is not, or nothing counts.
	Connections []Connections
	// BoundPrefix is the prefix that Bound lies in, nil if there is none.
	BoundPrefix *Prefix
	// Sockets are the idle sockets offered for reuse, SocketChoose only.
	Sockets []Socket
	App     App
	Now     time.Time
}

// DefaultPrefix returns the first candidate marked default, else StandIn, nil if
// there is neither (doc/original/policies.md 3.2).
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
	Local     netip.Addr // suggested or requested local address, invalid if neither
	Prefix    *Prefix    // the prefix Local lies in, nil if none
	Multipath bool       // opened with MPTCP
}

// App is who asks, from the peer credentials of the request socket. Fields that
// could not be found out are zero, which for PID means unknown, and for UID
// with a zero PID too.
type App struct {
	UID, PID   uint32
	Command    string // as in /proc/PID/comm
	Executable string // path; often unreadable, then ""
}

// Decision is a policy's answer. The zero value means no preference: nothing is
// bound, and the kernel chooses among all networks of the host, also among those
// that the policy would not choose. To forbid a network, set Only.
type Decision struct {
	Prefix     *Prefix   // bind to this prefix's first address
	Socket     *Socket   // reuse this one; it points into Request.Sockets
	Alternates []*Prefix // what to try next, best first
	// Only means that nothing but Prefix and Alternates may be used: not the default
	// prefix or what stands in for it, not the kernel's choice, not a plain dial
	// after the others have failed. Sockets are bound to the interface, and Multipath is
	// ignored, because subflows could take other networks. With neither Prefix nor
	// Socket the connection is refused, and Reason says why; so it is if the
	// application bound its socket to another prefix than these. A client turns a
	// refusal into an error, a proxy into its reply. Clients of the prototype, and
	// others that do not know of Only, go by it as far as they can: see
	// mamma-policy(7).
	Only       bool
	Multipath  bool // open the connection with MPTCP
	Resolution Resolution
	Options    []SocketOption // to be set on the new socket
	// Race asks for handshakes over Prefix and the first Alternate at the same
	// moment; the connection that is there first is used. It costs a few packets, and
	// is for networks whose round-trip times are not known. Clients that cannot do
	// so begin with Prefix.
	Race bool
	// Token is the policy's own number for the decision, which Transfer brings
	// back. 0 is none.
	Token uint64
	// Lease says for which further requests the decision holds; zero: for none.
	Lease  Lease
	Reason string  // one line for people: what decided; 1024 bytes of it are kept
	Scores []Score // what was compared, in candidate order
}

// Refuses tells whether d, a decision on r, refuses the connection: it has Only set,
// and names nothing that could be used.
func (d *Decision) Refuses(r *Request) bool {
	switch {
	case !d.Only || d.Socket != nil:
		return false
	case r.Bound.IsValid() && !r.Bound.IsUnspecified():
		return r.BoundPrefix == nil || d.Prefix != r.BoundPrefix && !slices.Contains(d.Alternates, r.BoundPrefix)
	}
	return d.Prefix == nil
}

// Resolution says which resolver a decision wants for the request's name.
type Resolution uint8

const (
	// ResolveOnPrefix asks the resolver of Decision.Prefix, or where that is
	// nil the one of Request.BoundPrefix, or else the default resolver.
	ResolveOnPrefix Resolution = iota
	// ResolveDefault asks the default resolver.
	ResolveDefault
	// ResolveNever resolves nothing: the client does it itself.
	ResolveNever
)

// SocketOption is an option that the client should set before it connects.
type SocketOption struct {
	Level, Name int32
	Value       []byte // host byte order, as setsockopt takes it
	Optional    bool   // failing to set it is not an error
}

// Score is what a policy compared for one candidate, kept as values and
// rendered when somebody reads it.
type Score struct {
	Prefix *Prefix
	// Predicted is the predicted completion time; 0 is "no prediction".
	Predicted time.Duration
	Terms     []Term // inputs and parts, in the order to show them
	Note      string // short remark, for instance "shortest"
}

// Term is one input or part of a Score.
type Term struct {
	Name  string // lower case, as a table heading: "rtt", "free capacity", "latency part"
	Unit  Unit
	Value float64   // in Unit; not a number if unknown
	Time  time.Time // when an input was measured; zero for what was computed
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
