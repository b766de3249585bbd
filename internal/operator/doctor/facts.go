package doctor

import (
	"net/netip"

	"github.com/socket-intents/mamma/policy"
)

// Facts are what the checks are made on.
type Facts struct {
	Prefixes []Prefix // those to be managed, in prefix-list order
	// Others are further prefixes of the host.
	Others []policy.PrefixID
	// Refused are the prefixes, to be managed or not, whose packets a route or a rule
	// refuses.
	Refused []Prefix
	// Unmatched are blocks of the configuration that are about no prefix of the
	// host, as written there.
	Unmatched []Block
	// Policy is its name, "" for none.
	Policy string
	// ManageRouting tells that routing = "manage" is configured, MayRoute that the
	// daemon, or this process if none runs, has CAP_NET_ADMIN.
	ManageRouting, MayRoute bool
	// BindDevice tells that sockets may be bound to devices by configuration;
	// DeviceError is why the kernel does not let this process do so, "" if it does.
	BindDevice  bool
	DeviceError string
	// MPTCP is net.mptcp.enabled.
	MPTCP Switch
	// Run is whether "mammactl run" can place the connections of programs; nil if
	// that was not tried.
	Run *Run
	// Table is the first routing table from 101 that nothing uses.
	Table int
	// Unbound are the interfaces by which what is not bound leaves, of IPv4 and IPv6.
	Unbound [2]string
	// Metrics are the largest metrics of default routes in table main, of IPv4 and IPv6.
	Metrics [2]int
	// Marks are rules by mark, and Users rules by user, that send elsewhere what would
	// leave by a prefix to be managed.
	Marks, Users []Diversion
	// Markers are the chains of the packet filter that set marks on what this host
	// sends. MarkersKnown tells that there are no others.
	Markers      []string
	MarkersKnown bool
}

// Diversion is a rule that holds for some packets only and sends them elsewhere.
type Diversion struct {
	Rule     string
	Users    string // a range of user identifiers; "" for rules by mark
	Prefixes []string
}

// Run says whether "mammactl run" works.
type Run struct {
	Error  string // why it does not, "" if it does
	Remedy string // what to do about it, if something is known
}

// Block is a block of the configuration.
type Block struct {
	Name string // such as prefix "10.0.0.0/8"
	At   string // file and line
	// Off is the interface that it is about, if that is there and switched off.
	Off string
	// Manager is what configures that interface.
	Manager Manager
}

// Switch is a setting of the kernel.
type Switch uint8

// The values of a Switch.
const (
	Unknown Switch = iota // not looked at
	Missing               // the kernel has no such setting
	Off
	On
)

// Prefix is a prefix to be managed.
type Prefix struct {
	ID   policy.PrefixID
	Addr netip.Addr // the one that is bound to
	// Link tells that the link can carry packets.
	Link bool
	// Far tells that destinations beyond the link are to be reached by it.
	Far     bool
	Default bool // it has a default route
	// Hidden tells that it has one which the kernel does not find (netmon.Prefix).
	Hidden  bool
	Gateway netip.Addr
	Metric  int
	// Egress is the interface by which the kernel would send from Addr to
	// destinations such as FarAway; "" if it would not send, or nothing is known.
	Egress  string
	FarAway netip.Addr
	// Ruled tells that a rule by source leads there, not the preferred route alone.
	Ruled bool
	// Refused is what a route or a rule does with packets from Addr to FarAway, such as
	// "prohibited"; "" if it lets them pass.
	Refused string
	// Twin tells that another interface has the same address, so that no rule by source
	// can tell them apart.
	Twin bool
	// Priority is that of rules that lead to the prefix's default route: directly
	// before what leads elsewhere. Suppress is the longest prefix of table main that
	// does so.
	Priority, Suppress int
	// Foreign is a rule that comes before those which mamma adds where it manages routes.
	Foreign Foreign
	// Manager is what configures the interface.
	Manager Manager
	// ReversePath is the value of rp_filter that counts, the larger one of that
	// of the interface and of all; -1: there is none, as for IPv6.
	ReversePath  int
	GatewayState GatewayState
	GatewayError string // what the kernel said
	Servers      []Server
}

// Foreign is a rule of somebody else. The zero value is none.
type Foreign struct {
	Priority int
	Words    string // what ip-rule(8) takes to make it, but for the priority
}

// Server is a name server of a prefix.
type Server struct {
	Addr  netip.AddrPort
	Error string // "" if it answers
}

// GatewayState is what came of an attempt to reach a gateway.
type GatewayState uint8

// The states.
const (
	GatewayUnknown     GatewayState = iota // there is none, or it was not asked
	GatewayAnswers                         // to a connection, or by refusing it
	GatewaySilent                          // it is a neighbour, but does not answer
	GatewayUnreachable                     // it is no neighbour (ARP, neighbour discovery)
	GatewayFiltered                        // this host does not let the packets out
)
