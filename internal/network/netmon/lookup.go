package netmon

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Path tells where packets to a destination go, as far as the destination
// alone decides it.
type Path struct {
	// Prefix is that of the route that matched; invalid for IPv6 link-local
	// destinations, which their zone decides, and for groups.
	Prefix netip.Prefix
	// Index is the interface of the best route; 0 if none is known. For
	// destinations on this host it is the loopback interface.
	Index   int
	Gateway netip.Addr // invalid: on the link
	Metric  int
	// Others are more interfaces with a route to Prefix, of which Index holds
	// the best; usually none.
	Others []int

	Default     bool // a default route or half of one, so any network may do
	Loopback    bool // an address of this host: never leaves it
	LinkLocal   bool // 169.254.0.0/16, fe80::/10, ff02::/16
	Unreachable bool // the kernel refuses or drops packets to there
}

// OnLink tells whether the destination is a neighbour.
func (p Path) OnLink() bool {
	return !p.Gateway.IsValid() && !p.Loopback && !p.Unreachable
}

// Specific tells whether only certain interfaces lead to the destination, those
// for which Via is true.
func (p Path) Specific() bool { return !p.Default }

// Via tells whether the destination can be reached by the interface.
func (p Path) Via(index int) bool {
	return !p.Unreachable && (p.Default || p.Index == index || slices.Contains(p.Others, index))
}

// Route looks up where packets to dst go: the addresses of this host, then the
// longest match in table main. Rules and other tables are not consulted. It is
// false if there is no route, or none but an unreachable default: then nothing
// is known against any network, since its own table may have one. IPv6 link-local destinations and groups are
// reached by the interface that their zone names; without one, Index is 0, and
// they can be reached by none. Groups of IPv4 are looked up as others are.
//
// It asks the snapshot only and allocates nothing.
func (s *Snapshot) Route(dst netip.Addr) (Path, bool) {
	dst = dst.Unmap()
	linkLocal := dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast()
	zone := dst.Zone()
	dst = dst.WithZone("")
	if dst.IsLoopback() || dst.IsUnspecified() { // connecting to 0.0.0.0 or :: means this host
		return Path{Index: s.lo, Loopback: true}, true
	}
	if !dst.IsValid() {
		return Path{}, false
	}
	if e := s.local.lookup(dst); e != nil && e.best.Type == Local {
		return Path{Prefix: e.best.Prefix, Index: s.lo, Loopback: true, LinkLocal: linkLocal}, true
	}
	if dst.Is6() && (linkLocal || dst.IsMulticast()) {
		return Path{Index: s.zoneIndex(zone), LinkLocal: linkLocal}, true
	}
	e := s.main.lookup(dst)
	if e == nil || e.best.Type == Unreachable && e.best.Default() {
		return Path{}, false
	}
	p := Path{
		Prefix: e.best.Prefix, Index: e.best.Index, Gateway: e.best.Gateway, Metric: e.best.Metric, Others: e.others,
		Default: e.best.Default(), LinkLocal: linkLocal, Unreachable: e.best.Type == Unreachable,
	}
	return p, true
}

// table is a routing table made for lookups: a map for each prefix length, the
// longest first.
type table struct {
	v4, v6 []level
}

type level struct {
	mask   bits128
	routes map[bits128]*entry
}

type entry struct {
	best   Route
	others []int
}

// bits128 is an address of either family as a number, high half first. It is
// hashed several times faster than a netip.Prefix.
type bits128 [2]uint64

func bitsOf(a netip.Addr) bits128 {
	b := a.As16()
	return bits128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// maskOf has the first n bits set.
func maskOf(n int) bits128 {
	// Shifts by 64 and more give 0.
	return bits128{^(^uint64(0) >> n), ^(^uint64(0) >> max(n-64, 0))}
}

func (b bits128) and(mask bits128) bits128 { return bits128{b[0] & mask[0], b[1] & mask[1]} }

func newTable(routes []Route, id int) table {
	byPrefix := map[netip.Prefix][]Route{}
	for _, r := range routes {
		if r.Table == id && r.Type != Other && r.Prefix.IsValid() {
			byPrefix[r.Prefix] = append(byPrefix[r.Prefix], r)
		}
	}
	var v4, v6 [129]map[bits128]*entry // by length
	for prefix, list := range byPrefix {
		// The kernel's order among equal metrics is kept.
		slices.SortStableFunc(list, func(a, b Route) int { return cmp.Compare(a.Metric, b.Metric) })
		e := &entry{best: list[0]}
		for _, r := range list[1:] {
			if r.Type == Unicast && r.Index != e.best.Index && !slices.Contains(e.others, r.Index) {
				e.others = append(e.others, r.Index)
			}
		}
		levels := &v6
		if prefix.Addr().Is4() {
			levels = &v4
		}
		if levels[prefix.Bits()] == nil {
			levels[prefix.Bits()] = map[bits128]*entry{}
		}
		levels[prefix.Bits()][bitsOf(prefix.Masked().Addr())] = e
	}
	var t table
	for bits := 128; bits >= 0; bits-- {
		if m := v4[bits]; m != nil {
			t.v4 = append(t.v4, level{maskOf(96 + bits), m}) // an IPv4 address is the end of 128 bits
		}
		if m := v6[bits]; m != nil {
			t.v6 = append(t.v6, level{maskOf(bits), m})
		}
	}
	return t
}

// lookup gives the best match of a valid address, nil if there is none.
func (t *table) lookup(dst netip.Addr) *entry {
	levels := t.v6
	if dst.Is4() {
		levels = t.v4
	}
	b := bitsOf(dst)
	for i := range levels {
		if e := levels[i].routes[b.and(levels[i].mask)]; e != nil {
			return e
		}
	}
	return nil
}
