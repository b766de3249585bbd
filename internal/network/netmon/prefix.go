package netmon

import (
	"cmp"
	"net/netip"
	"slices"
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

	// HasDefault tells whether there is a default route of the prefix's family
	// on its interface, in table main or in another that a rule names. Gateway
	// and Metric are those of the best such route, main first; Gateway is
	// invalid on links that need none.
	HasDefault bool
	Metric     int
	Gateway    netip.Addr

	// Egress is the index of the interface by which the kernel would really
	// send from the first address to a destination far away. If it is not
	// Index, binding the address alone does not make the packets leave by the
	// prefix's interface. 0 if unknown or if the kernel would not send; always
	// 0 unless the scope is global.
	Egress int
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
// own length; else it begins a new one.
func group(links map[int]Link, addrs []Addr) []Prefix {
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a Addr) bool {
		l, ok := links[a.Index]
		return a.Unusable || !ok || !l.Up || !a.Prefix.IsValid()
	})
	slices.SortStableFunc(addrs, func(a, b Addr) int {
		return cmp.Or(cmp.Compare(a.Prefix.Addr().BitLen(), b.Prefix.Addr().BitLen()), cmp.Compare(a.Index, b.Index))
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
		for _, a := range g {
			p.Addrs = append(p.Addrs, a.Prefix.Addr())
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
