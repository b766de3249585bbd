package netmon

import (
	"net/netip"
	"slices"
)

// State is what the kernel told, before it is grouped.
type State struct {
	Links  []Link
	Addrs  []Addr  // in the kernel's order
	Routes []Route // of all tables
	Rules  []Rule
	// Egress is the index of the interface by which the kernel would send from
	// a source address to a destination far away, by the source; an unspecified
	// address (0.0.0.0 or ::) stands for a socket that is not bound. Missing:
	// unknown, or the kernel would not send.
	Egress map[netip.Addr]int
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
}

// tunnelTypes are the kinds that VPNs use. Not ppp, which may be the access
// itself.
var tunnelTypes = []string{"tuntap", "wireguard", "ipip", "sit", "gre", "ip6gre", "ip6tnl", "vti", "vti6", "xfrm", "ovpn"}

// Tunnel tells whether packets of this link travel inside others of this host.
func (l Link) Tunnel() bool { return slices.Contains(tunnelTypes, l.Type) }

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
}
