package netmon

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// State is what the kernel has said, not yet grouped into prefixes.
type State struct {
	Links []Link
	Addrs []Addr // in the kernel's order
	// Routes are the routes to everywhere (oracle.Route.Wide) of all tables, and the
	// routes of table main to neighbours. They are read only if they were asked for,
	// see Options.
	Routes []oracle.Route
	// Specific holds the tables that have routes to only some destinations. It leaves
	// out main and local, which have such routes on every host. It is read only if
	// routes were asked for.
	Specific map[TableOf]bool
	// Pieces are those of IPv4 and of IPv6. They are read only if routes were asked
	// for.
	Pieces [2]Pieces
	Rules  []Rule
	// Ways says where packets to far destinations go. A missing entry means that they
	// go nowhere.
	Ways map[Vantage]oracle.Way
	// Turn are the default routes of IPv4 among which the kernel changes by itself. Only
	// those by interfaces with a prefix are known.
	Turn oracle.Turn
	// Gateways maps each gateway of the Ways to its link-layer address. The address is
	// "" if the kernel does not know it at the moment.
	Gateways map[Gateway]string
	// Barred are addresses from which the kernel refuses to send, even to neighbours.
	Barred map[netip.Addr]oracle.Verdict
	// Fallback tells, for IPv4 and for IPv6, whether table main has another default
	// route by the interface of the one in use, with a higher metric and another
	// preferred source, or none. Then the source of the one in use may be the address of
	// a VPN, see VirtualAddr. Fallback is read only if VirtualAddr needs it.
	Fallback [2]bool
	// Detours are the interfaces by which table main leads to single hosts or to public
	// networks. VPNs reach their servers by such routes. Routes that a DHCP server or a
	// router announced do not count. Detours is read only while a PPP link is up that is
	// neither PPPoE nor L2TP. Nothing else shows for certain that such a link is a VPN.
	Detours []int
}

// Vantage is the binding of a socket.
type Vantage struct {
	// Source is the address. The unspecified one (0.0.0.0 or ::) stands for a socket
	// that is not bound to an address.
	Source netip.Addr
	Device int // index of the interface; 0: none
}

// Gateway is a gateway on an interface. Addr has no zone.
type Gateway struct {
	Index int
	Addr  netip.Addr
}

// Link is a network interface.
type Link struct {
	Index int
	Name  string
	// Type is the kernel's kind of the link, such as "veth" or "wireguard". It is
	// "tuntap" for both TUN and TAP, and "device" for hardware.
	Type         string
	Up           bool // administratively
	Running      bool // can carry packets: IFF_RUNNING of netdevice(7)
	Loopback     bool // by the kernel's flag, whatever its name
	PointToPoint bool
	// AltNames are further names (ip-link(8), "altname").
	AltNames []string
	// PPPoE tells that a PPP link is carried by Ethernet frames and not by packets of
	// this host. Such a link is the access itself, and no VPN. L2TP tells that the
	// kernel carries the link in packets (RFC 2661). A PPP link that is neither may be
	// a modem, or a VPN of some program.
	PPPoE, L2TP bool
	MTU         int // in bytes; 0: unknown
	// Lower is the index of the link by which this one sends its frames, for instance
	// the link below a VLAN (IFLA_LINK). Master is the index of the bridge or bond that
	// this link is a port of (IFLA_MASTER). 0 means none, or one in another namespace.
	Lower, Master int

	carrier string // see markCarriers
}

// Named tells whether name is one of the link's names.
func (l Link) Named(name string) bool { return l.Name == name || slices.Contains(l.AltNames, name) }

func (l Link) equal(o Link) bool {
	return l.Index == o.Index && l.Name == o.Name && l.Type == o.Type && l.Up == o.Up && l.Running == o.Running &&
		l.Loopback == o.Loopback && l.PointToPoint == o.PointToPoint && l.PPPoE == o.PPPoE && l.L2TP == o.L2TP && l.MTU == o.MTU &&
		l.Lower == o.Lower && l.Master == o.Master && slices.Equal(l.AltNames, o.AltNames)
}

// tunnelTypes are the kinds of links that VPNs use, for packets or for frames. ppp is
// not one, because it may be the access itself.
var tunnelTypes = []string{
	"tuntap", "tun", "tap", "wireguard", "amneziawg", "ovpn", "ovpn-dco", "xfrm", "vti", "vti6",
	"ipip", "gre", "ip6gre", "sit", "ip6tnl", "gretap", "ip6gretap", "vxlan", "geneve",
}

// kindPPP is the kind of PPP links.
const kindPPP = "ppp"

// transitionTypes are tunnels that carry one family through a network of the other
// (6in4, RFC 4213; DS-Lite, RFC 6333). They hide nothing, so they are no VPNs.
var transitionTypes = []string{"sit", "ip6tnl"}

// Tunnel tells whether packets of this link travel inside packets of this host. That
// may also be because of a link below it: for instance a bridge over a VPN for frames.
// The links below are known only for links of a Snapshot.
func (l Link) Tunnel() bool { return l.carrier != "" || slices.Contains(tunnelTypes, l.Type) }

// kindDummy is the kind of links that drop everything that is sent to them.
const kindDummy = "dummy"

// private tells whether the link counts as a VPN by its kind, or by the kind of the
// links below it. The kind of a PPP link does not show that, see Snapshot.vpn. A dummy
// device counts, because it may be the kill switch of a VPN: its route to everywhere keeps
// packets from leaving while the tunnel is down.
func (l Link) private() bool {
	return l.Type == kindDummy || l.Tunnel() && !slices.Contains(transitionTypes, l.Type)
}

// access tells whether the link is certainly no VPN. For a PPP link only PPPoE shows
// that.
func (l Link) access() bool { return !l.Tunnel() && (l.Type != kindPPP || l.PPPoE) }

// Addr is an address of the host.
type Addr struct {
	Index  int          // of its interface
	Prefix netip.Prefix // the address with its prefix length; a peer's length does not count
	Scope  Scope

	Deprecated bool // valid only for old connections (RFC 4862, section 5.5.4)
	Temporary  bool // a privacy address (RFC 8981)
	Unusable   bool // tentative (and not optimistic) or a duplicate: sockets cannot be bound to it

	lent bool // see Prefix.Lent
}

// Scope says how far an address reaches. A higher value reaches farther.
type Scope uint8

// The scopes.
const (
	ScopeHost   Scope = iota // this host: loopback
	ScopeLink                // one link: 169.254.0.0/16, fe80::/10
	ScopeGlobal              // beyond the link; includes private and unique local addresses
)

func (s Scope) String() string {
	switch s {
	case ScopeHost:
		return "host"
	case ScopeLink:
		return "link"
	case ScopeGlobal:
		return "global"
	}
	return "unknown"
}

// ScopeOf returns the scope of an address, judged by its value.
func ScopeOf(a netip.Addr) Scope {
	switch {
	case a.IsLoopback():
		return ScopeHost
	case a.IsLinkLocalUnicast():
		return ScopeLink
	}
	return ScopeGlobal
}

// TableMain is the routing table that is used unless a rule says otherwise.
const TableMain = oracle.TableMain

// tableLocal is the table with the addresses of this host.
const tableLocal = unix.RT_TABLE_LOCAL

// Rule is a policy rule.
type Rule = oracle.Rule

// TableOf is the routing table of one family.
type TableOf struct {
	V6    bool
	Table int
}

// Pieces are routes by which a VPN takes all traffic without a default route or its two
// halves. An example is a route for each block of addresses outside of the private
// networks.
type Pieces struct {
	// Table is the table of the routes, and Index the VPN's interface; 0: there are no
	// pieces.
	Table, Index int
	// Prefixes are the pieces, the shortest first. Two kinds of routes are not pieces:
	// those to private networks, which were made for these networks alone, and those
	// inside of a wider piece.
	Prefixes []netip.Prefix
	// Others are the table's other routes, by any interface, whose prefixes are not
	// pieces and no longer than the longest piece. Routes to everywhere are left out.
	Others []oracle.Slot
}

// Longest returns the prefix length of the longest piece.
func (p *Pieces) Longest() int {
	if len(p.Prefixes) == 0 {
		return 0
	}
	return p.Prefixes[len(p.Prefixes)-1].Bits()
}

func (p *Pieces) equal(o *Pieces) bool {
	return p.Table == o.Table && p.Index == o.Index && slices.Equal(p.Prefixes, o.Prefixes) && slices.Equal(p.Others, o.Others)
}
