package doctor

import (
	"net/netip"

	"github.com/socket-intents/mamma/policy"
)

// Facts are all that the checks look at.
type Facts struct {
	Prefixes []Prefix // those to be managed, in prefix-list order
	// Others are further prefixes of the host.
	Others []policy.PrefixID
	// Refused are the prefixes, to be managed or not, whose packets a route or a rule
	// refuses.
	Refused []Prefix
	// Led are those whose packets a rule leads into a tunnel, beside what else is sent.
	Led []Led
	// Unmatched are blocks of the configuration that are about no prefix of the
	// host, as written there.
	Unmatched []Block
	// Policy is the name of the policy, "" if there is none.
	Policy string
	// ManageRouting tells that routing = "manage" is configured. MayRoute tells that the
	// daemon has CAP_NET_ADMIN, or this process if no daemon runs.
	ManageRouting, MayRoute bool
	// BindDevice tells that the configuration permits binding sockets to devices.
	// DeviceError is why the kernel does not permit it, "" if it does.
	BindDevice  bool
	DeviceError string
	// MPTCP is net.mptcp.enabled.
	MPTCP Switch
	// Run is whether "mammactl run" can place the connections of programs; nil if
	// that was not tried.
	Run *Run
	// Table is the first routing table, from 101 on, that nothing uses.
	Table int
	// Unbound are the interfaces by which packets of sockets that are not bound leave,
	// for IPv4 and for IPv6.
	Unbound [2]string
	// Metrics are the largest metrics of default routes in table main, for IPv4 and for
	// IPv6.
	Metrics [2]int
	// Marks are rules by mark, and Users rules by user, that send packets elsewhere which
	// would otherwise leave by a prefix to be managed.
	Marks, Users []Diversion
	// Markers are the chains of the packet filter that set marks on packets which this
	// host sends. MarkersKnown tells that all such chains are among them.
	Markers      []string
	MarkersKnown bool
	// Splits are the domains whose names are asked at an interface's own name servers,
	// whatever network a connection takes.
	Splits []Split
}

// Led is a prefix, or a further address of one, whose packets a rule leads into a tunnel.
type Led struct {
	Prefix
	Into string // the tunnel's interface
	// Other tells that only what comes from Addr is led there, which is not the first address
	// of the prefix.
	Other bool
}

// Split is a domain of an interface, as systemd-resolved knows it.
type Split struct {
	Domain    string
	Interface string
	Servers   []netip.AddrPort
	TLS       bool // asked by TLS, through systemd-resolved
	// Off tells that the configuration does not permit it (link_dns = false).
	Off bool
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
}

// Block is a block of the configuration.
type Block struct {
	Name string // such as prefix "10.0.0.0/8"
	At   string // file and line
	// Off is the interface that the block is about, if that exists and is switched off.
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

// Prefix is a prefix to be managed.
type Prefix struct {
	ID   policy.PrefixID
	Addr netip.Addr // that sockets are bound to
	// Link tells that the link can carry packets.
	Link bool
	// Far tells that the prefix is to be used for destinations beyond the link.
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
	// Ruled tells that a rule by source leads to Egress. Otherwise only the preferred
	// route does.
	Ruled bool
	// Refused is what a route or a rule does with packets from Addr to FarAway, such as
	// "prohibited"; "" if it lets them pass.
	Refused string
	// Lent tells that the address is of another interface, mostly loopback, as the default route
	// names it as its source: who made that has several links share it, or take turns.
	Lent bool
	// Twin tells that another interface has the same address, so that no rule by source
	// can tell them apart.
	Twin bool
	// Priority is the priority to propose for rules that lead to the prefix's default
	// route: directly before the rule that leads elsewhere. Suppress is the length of the
	// longest prefix in table main that leads elsewhere.
	Priority, Suppress int
	// Aside is the table by which a rule leads packets elsewhere, if it is not main and has routes
	// to certain destinations, too; the zero value: none.
	Aside Lookup
	// Mixed tells that table main leads to other places too by prefixes that are not longer,
	// so that the length does not tell which routes to pass over.
	Mixed bool
	// Remote tells that the kernel would not send from Addr to its neighbours by its interface.
	Remote bool
	// Foreign is a rule of somebody else that comes before the rules which mamma adds if
	// it manages routes.
	Foreign Foreign
	// Managed tells that rules of mamma for Addr are there.
	Managed bool
	// Forbidden is a rule that refuses what is sent from the prefix where mamma's rules would
	// have to be before it, so that there are none. Undone are rules that refuse some of
	// it, and do not hold, as mamma's rules come before them; the words are for this prefix.
	Forbidden Foreign
	Undone    []Foreign
	// Passed are rules that lead some of it elsewhere, and do not hold for the same reason.
	Passed []Foreign
	// Manager is what configures the interface.
	Manager Manager
	// ReversePath is the value of rp_filter in force, the larger one of that of the
	// interface and that of all; -1 if there is none, as for IPv6.
	ReversePath  int
	GatewayState GatewayState
	GatewayError string // what the kernel said
	Servers      []Server
}

// Lookup is a table, and the length of the longest prefix in it that leads elsewhere.
type Lookup struct{ Table, Suppress int }

// Foreign is a rule of somebody else. The zero value stands for none.
type Foreign struct {
	Priority int
	Words    string // arguments of ip-rule(8) that make it, without the priority
}

// Server is a name server of a prefix.
type Server struct {
	Addr  netip.AddrPort
	Error string // "" if it answers
}

// GatewayState is the result of an attempt to reach a gateway.
type GatewayState uint8

// The states.
const (
	GatewayUnknown     GatewayState = iota // there is no gateway, or it was not asked
	GatewayAnswers                         // by accepting a connection or refusing it
	GatewaySilent                          // it is a neighbour, but does not answer
	GatewayUnreachable                     // it is no neighbour (ARP, neighbour discovery)
	GatewayFiltered                        // a filter of this host does not let packets out
)
