package netmon

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// State is what the kernel told, before it is grouped.
type State struct {
	Links []Link
	Addrs []Addr // in the kernel's order
	// Routes are those of all tables; only if they were asked for, see Options.
	Routes []Route
	Rules  []Rule
	// Ways are where packets to destinations far away go. Missing: nowhere.
	Ways map[Vantage]oracle.Way
	// Barred are addresses from which the kernel refuses to send even to neighbours.
	Barred map[netip.Addr]oracle.Verdict
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
	// this host: it is the access itself, no VPN.
	PPPoE bool
}

// Named tells whether name is one of the link's names.
func (l Link) Named(name string) bool { return l.Name == name || slices.Contains(l.AltNames, name) }

func (l Link) equal(o Link) bool {
	return l.Index == o.Index && l.Name == o.Name && l.Type == o.Type && l.Up == o.Up && l.Running == o.Running &&
		l.Loopback == o.Loopback && l.PointToPoint == o.PointToPoint && l.PPPoE == o.PPPoE && slices.Equal(l.AltNames, o.AltNames)
}

// tunnelTypes are the kinds that VPNs use. Not ppp, which may be the access
// itself.
var tunnelTypes = []string{
	"tuntap", "tun", "wireguard", "amneziawg", "ovpn", "ovpn-dco", "xfrm", "vti", "vti6",
	"ipip", "gre", "ip6gre", "sit", "ip6tnl",
}

// transitionTypes are the tunnels that carry one family through a network of the
// other (6in4, RFC 4213; DS-Lite, RFC 6333): an access, nothing to hide in.
var transitionTypes = []string{"sit", "ip6tnl"}

// Tunnel tells whether packets of this link travel inside others of this host.
func (l Link) Tunnel() bool { return slices.Contains(tunnelTypes, l.Type) }

// private tells whether the link may be a VPN, from its kind.
func (l Link) private() bool { return l.Tunnel() && !slices.Contains(transitionTypes, l.Type) }

// Addr is an address of the host.
type Addr struct {
	Index  int          // of its interface
	Prefix netip.Prefix // the address itself with its prefix length; a peer's length does not count
	Scope  Scope

	Deprecated bool // for old connections only (RFC 4862, section 5.5.4)
	Temporary  bool // of the privacy extensions (RFC 8981)
	Unusable   bool // tentative, not optimistic, or found to be a duplicate: cannot be bound
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

// Routing tables, as in rtnetlink(7).
const (
	TableMain  = 254
	TableLocal = 255
)

// RouteType tells what the kernel does with packets that a route matches.
type RouteType uint8

// The types that matter here.
const (
	Unicast     RouteType = iota
	Local                 // an address of this host
	Unreachable           // refused or dropped: unreachable, prohibit, blackhole
	Other                 // broadcast, multicast, throw and so on
)

// Route is an entry of a routing table. A multipath route is several of them,
// one for each next hop.
type Route struct {
	Table   int
	Type    RouteType
	Prefix  netip.Prefix // 0.0.0.0/0 and ::/0 for default routes
	Index   int          // of the interface, 0 if the type has none
	Gateway netip.Addr   // invalid: on the link
	Metric  int          // lower is better
	Metrics Metrics
}

// Metrics are what connections by a route are told to heed, as ip-route(8) names
// them; zero values are not set.
type Metrics struct {
	MTU, AdvMSS, InitCwnd, InitRwnd, QuickAck, Window, HopLimit int
	CWnd, SSThresh, Reordering, Features                        int
	RTT, RTTVar, RTOMin                                         int // in the kernel's units
	Congestion                                                  string
	MTULock                                                     bool // no path MTU discovery
}

// MetricsOf reads the metrics of a route.
func MetricsOf(r *netlink.Route) Metrics {
	return Metrics{
		MTU: r.MTU, AdvMSS: r.AdvMSS, InitCwnd: r.InitCwnd, InitRwnd: r.InitRwnd, QuickAck: r.QuickACK, Window: r.Window, HopLimit: r.Hoplimit,
		CWnd: r.Cwnd, SSThresh: r.Ssthresh, Reordering: r.Reordering, Features: r.Features,
		RTT: r.Rtt, RTTVar: r.RttVar, RTOMin: r.RtoMin, Congestion: r.Congctl, MTULock: r.MTULock,
	}
}

// Set writes the metrics into a route.
func (m Metrics) Set(r *netlink.Route) {
	r.MTU, r.AdvMSS, r.InitCwnd, r.InitRwnd, r.QuickACK, r.Window, r.Hoplimit = m.MTU, m.AdvMSS, m.InitCwnd, m.InitRwnd, m.QuickAck, m.Window, m.HopLimit
	r.Cwnd, r.Ssthresh, r.Reordering, r.Features = m.CWnd, m.SSThresh, m.Reordering, m.Features
	r.Rtt, r.RttVar, r.RtoMin, r.Congctl, r.MTULock = m.RTT, m.RTTVar, m.RTOMin, m.Congestion, m.MTULock
}

// Default tells whether the route leads to everywhere: a default route, one of
// the two halves that VPNs install instead of it, or 2000::/3, all of IPv6 that
// is in use.
func (r Route) Default() bool {
	p := r.Prefix
	return p.IsValid() && (p.Bits() <= 1 || p == unicast6)
}

var unicast6 = netip.MustParsePrefix("2000::/3")

// OnLink tells whether destinations of the route are neighbours.
func (r Route) OnLink() bool { return r.Type == Unicast && !r.Gateway.IsValid() }

// Rule is a policy rule, as ip-rule(8) shows it; a simplified form.
type Rule struct {
	IPv6     bool
	Priority int
	Source   netip.Prefix // invalid: any
	Table    int          // 0 if the rule does not name one
	// Conditional is set if the rule depends on something else than the source.
	Conditional bool
	// Mark and Mask are of the packets that the rule is about (SO_MARK, or what a packet filter
	// sets); both 0: of all.
	Mark, Mask uint32
	// User, Protocol and Port tell that the rule looks at these.
	User, Protocol, Port bool
}
