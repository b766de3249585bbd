package doctor

import (
	"net/netip"

	"github.com/socket-intents/mamma/policy"
)

// Facts are all that the checks look at.
type Facts struct {
	Prefixes []Prefix // the prefixes to manage, in prefix-list order
	// Others are the other prefixes of the host whose neighbours are reached by their
	// interface.
	Others []policy.PrefixID
	// Refused are the prefixes whose packets a route or a rule refuses, managed ones and
	// those with a route to everywhere.
	Refused []Prefix
	// Led are the addresses whose packets a rule leads into a tunnel that other traffic
	// does not use.
	Led []Led
	// Unmatched are blocks of the configuration that match no prefix of the host.
	Unmatched []Block
	// Policy is the name of the policy, "" if there is none.
	Policy string
	// ManageRouting tells that routing = "manage" is configured. MayRoute tells that
	// the daemon, or this process if no daemon runs, has CAP_NET_ADMIN.
	ManageRouting, MayRoute bool
	// BindDevice tells that the configuration permits binding sockets to devices.
	// DeviceError says why the kernel does not permit it, "" if it does.
	BindDevice  bool
	DeviceError string
	// MPTCP is net.mptcp.enabled.
	MPTCP Switch
	// Run says whether "mammactl run" can place the connections of programs; nil if
	// that was not tried.
	Run *Run
	// Scopes is nil if no scopes are configured.
	Scopes *Scopes
	// Resets are the blocks with on_down = "reset". NeverProbes tells that the
	// configuration forbids probes.
	Resets      []Block
	NeverProbes bool
	// Table is the first unused routing table from 101 on.
	Table int
	// Unbound are the interfaces that unbound traffic uses, for IPv4 and for IPv6.
	Unbound [2]string
	// Metrics are the largest metrics of the routes in table main that lead to everywhere,
	// for IPv4 and for IPv6; 0: there is no such route.
	Metrics [2]int
	// Refusing are the smallest metrics of default routes there that refuse, behind which
	// nothing has an effect; 0 if routes to parts of everywhere refuse, which come before
	// every default route; nil: there are none.
	Refusing [2]*int
	// Marks are rules by mark, and Users rules by user, that send packets elsewhere
	// which would otherwise leave by a managed prefix.
	Marks, Users []Diversion
	// Markers are the chains of the packet filter that set marks on packets which this
	// host sends. MarkersKnown tells whether the list is complete.
	Markers      []string
	MarkersKnown bool
	// Splits are the domains whose names are looked up at an interface's own name
	// servers, whatever network the connection uses.
	Splits []Split
}

// Led is a prefix, or a further address of one, whose packets a rule leads into a
// tunnel.
type Led struct {
	Prefix
	Into string // the tunnel's interface
	// Other tells that this is about Addr alone, which is not the first address of the
	// prefix.
	Other bool
}

// Split is a domain of an interface.
type Split struct {
	Domain    string
	Interface string
	Servers   []netip.AddrPort
	Source    string // the service that has it: systemd-resolved or systemd-networkd
	TLS       bool   // the servers demand TLS, so the resolver of this host asks them
	// Off says why mamma does not use the servers; "": it does.
	Off string
}

// Diversion is a rule that sends some packets of a socket elsewhere.
type Diversion struct {
	Rule     string
	Users    string // a range of user identifiers; "" for rules by mark
	Prefixes []string
}

// Run says whether "mammactl run" works.
type Run struct {
	Error  string // why it does not, "" if it does
	Remedy string // what to do about it, if something is known
	// Unmoved says why it cannot move connections whose network is silent, "" if it can.
	Unmoved, UnmovedRemedy string
}

// Block is a block of the configuration.
type Block struct {
	Name string // such as prefix "10.0.0.0/8"
	At   string // file and line of the block
	// Off is the interface that the block names, if it exists and is switched off.
	Off string
	// Manager is the program that configures that interface.
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

// Prefix is a prefix to manage.
type Prefix struct {
	ID   policy.PrefixID
	Addr netip.Addr // the address that sockets are bound to
	// Link tells that the link can carry packets.
	Link bool
	// Far tells that the prefix should be used for destinations beyond its link.
	Far     bool
	Default bool // it has a default route
	// Hidden tells that it has a default route which the kernel does not find
	// (netmon.Prefix).
	Hidden  bool
	Gateway netip.Addr
	Metric  int
	// Egress is the interface by which the kernel would send from Addr to far
	// destinations; "" if it would not send, or if that is unknown.
	Egress  string
	FarAway netip.Addr
	// Shared tells that there is no Egress because the kernel spreads connections to far
	// destinations over several interfaces (ECMP).
	Shared bool
	// Turn are the interfaces of all default routes that have the metric of this prefix's
	// one, and among which the kernel changes by itself (oracle.Turn).
	Turn []string
	// Ruled tells that a rule by source leads to Egress, and not merely the preferred
	// route.
	Ruled bool
	// Refused says how a route or a rule refuses packets from Addr to far destinations,
	// such as "prohibited"; "" if they may pass.
	Refused string
	// Lent tells that the address belongs to another interface, mostly loopback, and
	// that the default route names it as its source. Such a host is meant to use
	// several links together or in turn.
	Lent bool
	// Twin tells that another interface has the same address, so that no rule by source
	// can tell them apart.
	Twin bool
	// Priority is the priority to propose for rules that lead to the prefix's default
	// route: directly before the rule that leads elsewhere. Suppress is the length of
	// the longest prefix in table main by which packets are led elsewhere.
	Priority, Suppress int
	// Aside is the table by which a rule leads packets elsewhere, if it is not main and has routes
	// to certain destinations, too; the zero value: none.
	Aside Lookup
	// Mixed tells that table main has other routes with prefixes no longer than that.
	// The length then does not tell which routes to ignore.
	Mixed bool
	// Remote tells that the kernel would not send from Addr to its neighbours by its interface.
	Remote bool
	// Foreign is a rule of another program that comes before the rules which mamma adds
	// when it manages routes.
	Foreign Foreign
	// Past is a rule that Foreign would come behind, together with what is sent from other
	// addresses, if it were moved behind mamma's rules.
	Past Foreign
	// Managed tells that mamma has made rules for Addr, and ManagedAt is their priority.
	Managed   bool
	ManagedAt int
	// Barrier is a rule that keeps the kernel from looking for a default route of the
	// prefix in table main, because it refuses the packets. If BarrierTable is not 0, a
	// route in that table does, to which the rule leads.
	Barrier      Foreign
	BarrierTable int
	// Forbidden is a rule that refuses the prefix's packets, and that mamma's rules
	// would have to precede; so there are none. Undone are rules that refuse some of
	// these packets, but have no effect because mamma's rules come before them. The
	// words are for this prefix.
	Forbidden Foreign
	Undone    []Foreign
	// Passed are rules that lead some of these packets elsewhere, but have no effect
	// for the same reason.
	Passed []Foreign
	// Manager is the program that configures the interface.
	Manager Manager
	// ReversePath is the effective value of rp_filter: the larger one of the
	// interface's own and of that for all interfaces. It is -1 if there is none, as for
	// IPv6.
	ReversePath  int
	GatewayState GatewayState
	GatewayError string // the kernel's error
	Servers      []Server
}

// Lookup is a table, and the length of the longest prefix in it that leads elsewhere.
type Lookup struct{ Table, Suppress int }

// Foreign is a rule of another program. The zero value means that there is none.
type Foreign struct {
	Priority int
	Words    string // arguments of ip-rule(8) that make it, without the priority
	// Before are the words of the rules that must come with a copy of the rule, before it.
	Before []string
}

// Server is a name server of a prefix.
type Server struct {
	Addr  netip.AddrPort
	Error string // "": it answers
}

// GatewayState is the result of an attempt to reach a gateway.
type GatewayState uint8

// The states.
const (
	GatewayUnknown     GatewayState = iota // there is no gateway, or it was not asked
	GatewayAnswers                         // it has accepted or refused a connection
	GatewaySilent                          // it is found as a neighbour, but does not answer
	GatewayUnreachable                     // it is not found as a neighbour (ARP, neighbour discovery)
	GatewayFiltered                        // a filter of this host does not let packets out
)
