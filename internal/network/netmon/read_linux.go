package netmon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// read takes a snapshot. The second result is true if changes interrupted it so
// often that it may be inconsistent; it should be repeated soon. For kind see Options.
func read(h *netlink.Handle, kind func(name, kernel string) string) (*Snapshot, bool, error) {
	var state State
	interrupted := false
	for _, part := range []struct {
		name string
		read func() error
	}{
		{"links", func() error { return readLinks(h, &state, kind) }},
		{"addresses", func() error { return readAddrs(h, &state) }},
		{"routes", func() error { return readRoutes(h, &state) }},
		{"rules", func() error { return readRules(h, &state) }},
	} {
		err := retry(part.read)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			interrupted, err = true, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("reading %s: %w", part.name, err)
		}
	}
	s := NewSnapshot(state)
	s.setEgress(readEgress(h, s))
	return s, interrupted, nil
}

// retry repeats a dump that changes made inconsistent (NLM_F_DUMP_INTR). Each
// try replaces the result of the one before.
func retry(dump func() error) error {
	const tries = 5 // one is mostly enough, even while hundreds of addresses are added
	var err error
	for range tries {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return err
}

func readLinks(h *netlink.Handle, state *State, kind func(name, kernel string) string) error {
	list, err := h.LinkList()
	state.Links = make([]Link, 0, len(list))
	for _, l := range list {
		a, typ := l.Attrs(), l.Type()
		if kind != nil {
			typ = kind(a.Name, typ)
		}
		state.Links = append(state.Links, Link{
			Index: a.Index, Name: a.Name, Type: typ,
			Up: a.RawFlags&unix.IFF_UP != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0,
			Loopback:     a.RawFlags&unix.IFF_LOOPBACK != 0,
			PointToPoint: a.RawFlags&unix.IFF_POINTOPOINT != 0,
		})
	}
	return err
}

func readAddrs(h *netlink.Handle, state *State) error {
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	state.Addrs = make([]Addr, 0, len(list))
	for _, a := range list {
		p, ok := prefixOf(a.IPNet)
		if !ok {
			continue
		}
		state.Addrs = append(state.Addrs, Addr{
			Index: a.LinkIndex, Prefix: p, Scope: scopeOf(p.Addr(), a.Scope),
			Deprecated: a.Flags&unix.IFA_F_DEPRECATED != 0,
			// The same bit says "secondary" of IPv4 addresses.
			Temporary: a.Flags&unix.IFA_F_TEMPORARY != 0 && p.Addr().Is6(),
			Unusable: a.Flags&unix.IFA_F_DADFAILED != 0 ||
				a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0,
		})
	}
	return err
}

// scopeOf goes by the address, and by the kernel's scope where that is narrower.
func scopeOf(a netip.Addr, kernel int) Scope {
	scope := ScopeOf(a)
	switch netlink.Scope(kernel) {
	case netlink.SCOPE_HOST:
		scope = min(scope, ScopeHost)
	case netlink.SCOPE_LINK:
		scope = min(scope, ScopeLink)
	}
	return scope
}

func readRoutes(h *netlink.Handle, state *State) error {
	state.Routes = nil
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// Table 0 in the filter means all tables.
		err := h.RouteListFilteredIter(family, &netlink.Route{}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			state.Routes = appendRoute(state.Routes, r)
			return true
		})
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func appendRoute(routes []Route, r netlink.Route) []Route {
	p, ok := prefixOf(r.Dst)
	if !ok {
		p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Family == netlink.FAMILY_V6 {
			p = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	out := Route{Table: r.Table, Type: routeType(r.Type), Prefix: p, Index: r.LinkIndex, Gateway: gateway(r.Gw, r.Via), Metric: r.Priority}
	if len(r.MultiPath) == 0 {
		if r.Flags&unix.RTNH_F_DEAD != 0 {
			return routes
		}
		return append(routes, out)
	}
	for _, hop := range r.MultiPath {
		if hop.Flags&unix.RTNH_F_DEAD == 0 {
			out.Index, out.Gateway = hop.LinkIndex, gateway(hop.Gw, hop.Via)
			routes = append(routes, out)
		}
	}
	return routes
}

func routeType(t int) RouteType {
	switch t {
	case unix.RTN_UNICAST:
		return Unicast
	case unix.RTN_LOCAL:
		return Local
	case unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT, unix.RTN_BLACKHOLE:
		return Unreachable
	}
	return Other
}

// gateway reads the next hop, which may be of the other family (RFC 5549).
func gateway(gw net.IP, via netlink.Destination) netip.Addr {
	if v, ok := via.(*netlink.Via); ok {
		gw = v.Addr
	}
	a, _ := netip.AddrFromSlice(gw) // invalid if there is none
	return a.Unmap()
}

func readRules(h *netlink.Handle, state *State) error {
	list, err := h.RuleList(netlink.FAMILY_ALL)
	state.Rules = make([]Rule, 0, len(list))
	for _, r := range list {
		source, _ := prefixOf(r.Src) // invalid if there is none
		state.Rules = append(state.Rules, Rule{
			IPv6: r.Family == netlink.FAMILY_V6, Priority: r.Priority, Source: source, Table: max(r.Table, 0),
			Conditional: r.Invert || r.Mark != 0 || r.Mask != nil || r.Tos != 0 || r.Dst != nil ||
				r.IifName != "" || r.OifName != "" || r.Dport != nil || r.Sport != nil || r.IPProto > 0 ||
				r.UIDRange != nil || r.SuppressPrefixlen >= 0 || r.SuppressIfgroup >= 0,
		})
	}
	return err
}

// readEgress asks the kernel where it would send. A source that has vanished
// meanwhile is left out; an event follows.
func readEgress(h *netlink.Handle, s *Snapshot) map[netip.Addr]int {
	egress := map[netip.Addr]int{}
	for _, unbound := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		far := farAway(s, unbound.Is6())
		if index, ok := egressOf(h, far, nil); ok {
			egress[unbound] = index
		}
		for _, p := range s.prefixes {
			if p.Scope != ScopeGlobal || p.Addrs[0].Is6() != unbound.Is6() {
				continue
			}
			if index, ok := egressOf(h, far, p.Addrs[0].AsSlice()); ok {
				egress[p.Addrs[0]] = index
			}
		}
	}
	return egress
}

func egressOf(h *netlink.Handle, far netip.Addr, source net.IP) (int, bool) {
	routes, err := h.RouteGetWithOptions(far.AsSlice(), &netlink.RouteGetOptions{SrcAddr: source})
	if err != nil || len(routes) == 0 || routes[0].LinkIndex == 0 {
		return 0, false
	}
	return routes[0].LinkIndex, true
}

// Addresses for documentation (RFC 5737, RFC 3849, RFC 9637), which nothing is
// sent to.
var (
	far4 = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1")}
	far6 = []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("3fff::1")}
)

// farAway picks a destination that no route but a default one matches.
func farAway(s *Snapshot, ipv6 bool) netip.Addr {
	list := far4
	if ipv6 {
		list = far6
	}
	for _, a := range list {
		if p, ok := s.Route(a); !ok || p.Default {
			return a
		}
	}
	return list[0]
}

// prefixOf converts; false if there is none or it is not valid.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits != a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones), true
}
