package netmon

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// Prefix is a local prefix on an interface that is up: the host's addresses
// that share it (doc/original/daemon.md 10.3).
type Prefix struct {
	Interface string
	Index     int
	Prefix    netip.Prefix // masked
	// Addrs are those that can be bound, best first: preferred before
	// deprecated, temporary before others of IPv6 (RFC 6724, section 5, rules 3
	// and 7), then the kernel's order. Never empty. They carry no zones.
	Addrs   []netip.Addr
	Scope   Scope // that of the first address
	Running bool  // the link can carry packets
	// Loopback is set for all prefixes of a loopback interface.
	Loopback bool

	// Lent tells that the addresses are of another interface, mostly loopback, and are used here
	// as the way by this one names them as its source (RTA_PREFSRC).
	Lent bool

	// Twin tells that another interface has one of the addresses as well, so that only the
	// device tells the two networks apart.
	Twin bool

	// HasDefault tells whether the prefix leads to everywhere: whether the kernel
	// sends what is bound to its first address to most destinations by its interface, by the address
	// alone or when the socket is bound to the interface as well (SO_BINDTODEVICE). Gateway and
	// Metric are those of the route; Gateway is invalid on links that need none. Where a rule by source
	// leads to the route, Metric is that of the route that there is besides, if any.
	HasDefault bool
	Metric     int
	Gateway    netip.Addr

	// Hidden tells that table main has a route to everywhere by the interface which the
	// kernel does not find for sockets bound to it: of IPv4 routes to one destination it
	// looks at none behind one that leads to a next-hop object of another interface, and of a
	// group of next-hop objects IPv6 takes any, whatever interface the socket is bound to.
	// A rule by source to a table of its own leads there. Gateway and Metric are those of the
	// route. Known only where the snapshot holds routes.
	Hidden bool

	// OwnLink tells that the prefix is for the destinations of its link, although the kernel
	// would send from it to everywhere: the route names another address as its source, or it
	// names none and the prefix is unique local (RFC 4193) or the gateway belongs to another
	// prefix of the interface; or Led says so.
	OwnLink bool

	// Led is the interface of a VPN into which a rule leads what comes from the
	// prefix, while other traffic goes elsewhere; 0: none. Who made the rule wants
	// nothing from this address to leave beside the VPN, so OwnLink is true too.
	Led int

	// Refused is what a route or a rule does with packets from the first address
	// to most destinations far away, if it refuses or drops them: then the prefix is
	// not to be used, for its neighbours neither if Barred is set.
	Refused oracle.Verdict
	Barred  bool

	// Egress is the index of the interface by which the kernel would really
	// send from the first address to destinations far away. If it is not
	// Index, binding the address alone does not make the packets leave by the
	// prefix's interface. 0 if unknown, if the kernel would not send, or would spread
	// connections over several; always 0 unless the scope is global.
	Egress int
	// Ruled tells that a rule by source address leads there, so that what is
	// not bound may go elsewhere.
	Ruled bool
	// BySource tells that the route from the first address is for certain sources only, which
	// IPv6 has.
	BySource bool
}

// Contains tells whether a lies in the prefix. An address of the other family
// never does, nor one with another interface's zone.
func (p *Prefix) Contains(a netip.Addr) bool {
	if zone := a.Zone(); zone != "" && zone != p.Interface {
		return false
	}
	return p.Prefix.Contains(a.Unmap().WithZone(""))
}

// group makes the prefixes, in the order of doc/original/daemon.md 10.1: IPv4 before
// IPv6, by interface index, then as the kernel lists the addresses. A new
// address joins the first prefix of its interface that it lies in, whatever its
// own length; else it begins a new one. Addresses that are alone in their prefix, such as
// DHCPv6 gives (RFC 8415: without a length), come last, as others of the same
// network may be listed behind them.
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
	lengths := map[run][]int{} // lengths of the run's prefixes, so that hosts with many addresses stay cheap
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
