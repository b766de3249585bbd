package netmon

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// Prefix is a local prefix on an interface that is up: the host's addresses that share
// a network there (doc/original/daemon.md 10.3).
type Prefix struct {
	Interface string
	Index     int
	Prefix    netip.Prefix // masked
	// Addrs are the addresses that sockets can be bound to, best first: preferred ones
	// before deprecated ones, temporary IPv6 ones before others (RFC 6724, section 5,
	// rules 3 and 7), then the kernel's order. There is always one. They have no zones.
	Addrs   []netip.Addr
	Scope   Scope // that of the first address
	Running bool  // the link can carry packets
	// Loopback is set for all prefixes of a loopback interface.
	Loopback bool

	// Lent tells that the addresses belong to another interface, mostly loopback. They
	// count here because the way by this interface names them as its source
	// (RTA_PREFSRC).
	Lent bool

	// Twin tells that another interface has one of the addresses as well. Only the
	// device then tells the two networks apart.
	Twin bool

	// HasDefault tells whether the prefix leads to everywhere. That is so if the kernel
	// sends to most destinations by the prefix's interface when a socket is bound to
	// the first address, alone or together with the interface (SO_BINDTODEVICE).
	// Gateway and Metric are those of the route; Gateway is invalid on links that need
	// none. If a rule by source leads to the route, Metric is that of the route that
	// exists besides, if any.
	HasDefault bool
	Metric     int
	Gateway    netip.Addr

	// Hidden tells that table main has a route to everywhere by the interface that the
	// kernel does not find for sockets bound to the interface. There are three causes.
	// Among IPv4 routes to one destination, the kernel stops at one that leads to a
	// next-hop object of another interface. And of a group of next-hop objects IPv6
	// takes any, whatever interface the socket is bound to. Third, the route is by a
	// router of the prefix's own network, and the kernel prefers a router of another
	// network on the link (RFC 8028); then OwnLink is set too. A rule by source with a
	// table of its own makes the kernel find the route. Gateway and Metric are those of
	// the route. Hidden is known only if the snapshot holds routes.
	Hidden bool

	// OwnLink tells that the prefix is meant for the destinations of its link only,
	// although the kernel would send from it to everywhere. It is set in four cases:
	// the route names another address as its source; it names none and the prefix is
	// unique local (RFC 4193); it names none and the gateway belongs to another prefix
	// of the interface; or Led is set.
	OwnLink bool

	// Led is the interface of a VPN into which a rule leads the prefix's traffic, while
	// other traffic goes elsewhere; 0: none. The author of the rule does not want
	// traffic from this address outside of the VPN, so OwnLink is set, too.
	Led int

	// Refused says how a route or a rule refuses or drops packets from the first
	// address to most far destinations. The prefix must then not be used. With Barred
	// this includes its neighbours.
	Refused oracle.Verdict
	Barred  bool

	// Egress is the index of the interface by which the kernel would send from the
	// first address to far destinations. If it differs from Index, binding the address
	// alone does not make packets leave by the prefix's interface. It is 0 if unknown,
	// if the kernel would not send, or if it would spread connections over several
	// interfaces. It is always 0 unless the scope is global.
	Egress int
	// Ruled tells that a rule by source address leads to the route. Unbound traffic may
	// then go elsewhere.
	Ruled bool
	// BySource tells that the route from the first address is only for certain sources.
	// IPv6 has such routes.
	BySource bool
}

// Contains tells whether a lies in the prefix. An address of the other family, or with
// another interface's zone, never does.
func (p *Prefix) Contains(a netip.Addr) bool {
	if zone := a.Zone(); zone != "" && zone != p.Interface {
		return false
	}
	return p.Prefix.Contains(a.Unmap().WithZone(""))
}

// group makes the prefixes. Their order is that of doc/original/daemon.md 10.1: IPv4
// before IPv6, by interface index, then as the kernel lists the addresses. An address
// joins the first prefix of its interface that contains it, whatever its own prefix
// length; else it begins a new prefix. Addresses that would be alone in their prefix
// are handled last, because addresses of the same network may be listed after them.
// DHCPv6 gives such addresses, without a length (RFC 8415).
func group(links map[int]Link, addrs []Addr) []Prefix {
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a Addr) bool {
		l, ok := links[a.Index]
		return a.Unusable || !ok || !l.Up || !a.Prefix.IsValid()
	})
	slices.SortStableFunc(addrs, func(a, b Addr) int {
		return cmp.Or(cmp.Compare(a.Prefix.Addr().BitLen(), b.Prefix.Addr().BitLen()), cmp.Compare(a.Index, b.Index),
			falseFirst(a.Prefix.IsSingleIP(), b.Prefix.IsSingleIP()))
	})
	type key struct {
		index  int
		prefix netip.Prefix
	}
	type run struct { // the addresses of one interface and family
		index, bitLen int
	}
	var groups [][]Addr
	found := map[key]int{}
	lengths := map[run][]int{} // prefix lengths in the run; keeps hosts with many addresses fast
	for _, a := range addrs {
		r := run{a.Index, a.Prefix.Addr().BitLen()}
		first := -1
		for _, bits := range lengths[r] {
			i, ok := found[key{a.Index, netip.PrefixFrom(a.Prefix.Addr(), bits).Masked()}]
			if ok && (first < 0 || i < first) {
				first = i
			}
		}
		if first >= 0 {
			groups[first] = append(groups[first], a)
			continue
		}
		found[key{a.Index, a.Prefix.Masked()}] = len(groups)
		groups = append(groups, []Addr{a})
		if !slices.Contains(lengths[r], a.Prefix.Bits()) {
			lengths[r] = append(lengths[r], a.Prefix.Bits())
		}
	}
	prefixes := make([]Prefix, len(groups))
	for i, g := range groups {
		l := links[g[0].Index]
		p := Prefix{
			Interface: l.Name, Index: l.Index, Running: l.Running, Loopback: l.Loopback,
			Prefix: g[0].Prefix.Masked(),
		}
		slices.SortStableFunc(g, better)
		p.Scope = g[0].Scope
		p.Lent = true
		for _, a := range g {
			p.Addrs = append(p.Addrs, a.Prefix.Addr())
			p.Lent = p.Lent && a.lent
		}
		prefixes[i] = p
	}
	return prefixes
}

// better orders addresses, best first.
func better(a, b Addr) int {
	return cmp.Or(falseFirst(a.Deprecated, b.Deprecated), falseFirst(!a.Temporary, !b.Temporary))
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
