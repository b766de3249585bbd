package netmon

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// State is what the kernel told, before it is grouped.
type State struct {
	Links []Link
	Addrs []Addr // in the kernel's order
	// Routes are those of all tables that lead to everywhere, and those of table main that lead to
	// neighbours; only if they were asked for, see Options.
	Routes []oracle.Route
	// Specific are the tables, but for main and local, with routes that do not lead to
	// everywhere; likewise.
	Specific map[TableOf]bool
	// Pieces are those of IPv4 and of IPv6; likewise.
	Pieces [2]Pieces
	Rules  []Rule
	// Ways are where packets to destinations far away go. Missing: nowhere.
	Ways map[Vantage]oracle.Way
	// Barred are addresses from which the kernel refuses to send even to neighbours.
	Barred map[netip.Addr]oracle.Verdict
	// Fallback tells of IPv4 and IPv6 that table main has another default route by the interface
	// that leads to everywhere, behind one that names a source.
	Fallback [2]bool
	// Detours are the interfaces by which table main leads to single hosts, or to parts of what is
	// public. VPNs reach their server so. What a DHCP server or a router announced does not count.
	// Known only where there is a PPP link of which nothing else tells what it is.
	Detours []int
}

// Vantage is what a socket is bound to.
type Vantage struct {
	// Source is its address; an unspecified one (0.0.0.0 or ::) stands for a
	// socket that is not bound to an address.
	Source netip.Addr
	Device int // index of the interface it is bound to; 0: none
}

// Link is a network interface.
type Link struct {
	Index int
	Name  string
	// Type is the kernel's kind, such as "veth" or "wireguard"; "tuntap" for
	// both TUN and TAP, "device" for hardware.
	Type         string
	Up           bool // administratively
	Running      bool // can carry packets: IFF_RUNNING of netdevice(7)
	Loopback     bool // by flag, whatever the name
	PointToPoint bool
	// AltNames are further names (ip-link(8), "altname").
	AltNames []string
	// PPPoE tells of a PPP link that a frame of Ethernet carries, not a packet of
	// this host: it is the access itself, no VPN. L2TP tells of one that the kernel carries in
	// packets (RFC 2661). A PPP link that is neither may be a modem, or a VPN by a program.
	PPPoE, L2TP bool
	MTU         int // in bytes; 0: unknown
	// Lower is the index of the link by which this one sends its frames, as a VLAN does
	// (IFLA_LINK), and Master that of the bridge or bond that it is a port of (IFLA_MASTER). 0: none,
	// or one of another namespace.
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

// tunnelTypes are the kinds that VPNs use, of packets and of frames. Not ppp, which may be
// the access itself.
var tunnelTypes = []string{
	"tuntap", "tun", "tap", "wireguard", "amneziawg", "ovpn", "ovpn-dco", "xfrm", "vti", "vti6",
	"ipip", "gre", "ip6gre", "sit", "ip6tnl", "gretap", "ip6gretap", "vxlan", "geneve",
}

// kindPPP is the kind of PPP links.
const kindPPP = "ppp"

// transitionTypes are the tunnels that carry one family through a network of the
// other (6in4, RFC 4213; DS-Lite, RFC 6333): an access, nothing to hide in.
var transitionTypes = []string{"sit", "ip6tnl"}

// Tunnel tells whether packets of this link travel inside others of this host, be it by another
// link that it stands on, such as a bridge over a VPN of frames. That is known of links of a Snapshot.
func (l Link) Tunnel() bool { return l.carrier != "" || slices.Contains(tunnelTypes, l.Type) }

// kindDummy is the kind of links that swallow what is sent to them.
const kindDummy = "dummy"

// private tells whether the link may be a VPN, from its kind. A dummy device that holds
// the way to everywhere is a VPN's kill switch: while the tunnel is down, nothing leaves.
func (l Link) private() bool {
	return l.Type == kindDummy || l.Tunnel() && !slices.Contains(transitionTypes, l.Type)
}

// access tells whether the link is no VPN for certain. Of a PPP link only PPPoE tells that.
func (l Link) access() bool { return !l.Tunnel() && (l.Type != kindPPP || l.PPPoE) }

// Addr is an address of the host.
type Addr struct {
	Index  int          // of its interface
	Prefix netip.Prefix // the address itself with its prefix length; a peer's length does not count
	Scope  Scope

	Deprecated bool // for old connections only (RFC 4862, section 5.5.4)
	Temporary  bool // of the privacy extensions (RFC 8981)
	Unusable   bool // tentative, not optimistic, or found to be a duplicate: cannot be bound

	lent bool // see Prefix.Lent
}

// Scope is how far an address reaches. The values rise with the reach.
type Scope uint8

// The scopes.
const (
	ScopeHost   Scope = iota // this host: loopback
	ScopeLink                // one link: 169.254.0.0/16, fe80::/10
	ScopeGlobal              // beyond, private and unique local addresses included
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

// ScopeOf tells the scope that an address has by its value.
func ScopeOf(a netip.Addr) Scope {
	switch {
	case a.IsLoopback():
		return ScopeHost
	case a.IsLinkLocalUnicast():
		return ScopeLink
	}
	return ScopeGlobal
}

// TableMain is the routing table that is looked into where no rule says otherwise.
const TableMain = oracle.TableMain

// tableLocal is the table of the addresses of this host.
const tableLocal = unix.RT_TABLE_LOCAL

// Rule is a policy rule.
type Rule = oracle.Rule

// TableOf is a routing table of one family.
type TableOf struct {
	V6    bool
	Table int
}

// Pieces are the routes by which a VPN takes everything, where those are neither a default
// route nor halves of one: such as all but the private networks, a route for each block.
type Pieces struct {
	// Table is where they are, and Index the VPN's interface; 0: there are none.
	Table, Index int
	// Prefixes are the pieces, the shortest first. Private networks, and what lies in a wider
	// piece, are none: such a route was made for what it leads to.
	Prefixes []netip.Prefix
	// Others are what the table leads elsewhere of prefixes no longer than the longest piece,
	// and not to everywhere.
	Others []oracle.Slot
}

// Longest is the prefix length of the longest piece.
func (p *Pieces) Longest() int {
	if len(p.Prefixes) == 0 {
		return 0
	}
	return p.Prefixes[len(p.Prefixes)-1].Bits()
}

func (p *Pieces) equal(o *Pieces) bool {
	return p.Table == o.Table && p.Index == o.Index && slices.Equal(p.Prefixes, o.Prefixes) && slices.Equal(p.Others, o.Others)
}
