package netmon

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// judge fills in what the prefixes may be used for, from the kernel's answers.
func (s *Snapshot) judge() {
	for i := range s.prefixes {
		p := &s.prefixes[i]
		p.Twin = s.twin(p)
		if p.Scope != ScopeGlobal || p.Loopback {
			continue
		}
		s.order(p)
		own := s.state.Ways[Vantage{Source: p.Addrs[0]}]
		for _, a := range p.Addrs[1:] {
			if !own.Verdict.Refused() {
				break
			}
			// The kernel may refuse one address of the prefix and allow another.
			if w := s.state.Ways[Vantage{Source: a}]; !w.Verdict.Refused() && w.Verdict != oracle.NoRoute {
				own = w
				p.Addrs = append([]netip.Addr{a}, slices.DeleteFunc(slices.Clone(p.Addrs), func(b netip.Addr) bool { return a == b })...)
			}
		}
		if own.Verdict.Refused() {
			p.Refused = own.Verdict
			_, p.Barred = s.state.Barred[p.Addrs[0]]
			continue
		}
		if own.Verdict == oracle.Sent && !own.Shared {
			p.Egress = own.Index
		}
		if s.IntoVPN(p, &own) {
			p.Led, p.OwnLink = own.Index, true
			continue
		}
		w := own
		if p.Egress != p.Index || p.Twin {
			w = s.byDevice(p)
		} else {
			p.BySource = own.BySource
			p.Ruled = own.Table != s.state.Ways[Vantage{Source: unspecified(p.Addrs[0])}].Table
		}
		if w.Verdict != oracle.Sent || w.Index != p.Index || w.Shared {
			s.hidden(p)
			continue
		}
		if p.OwnLink = s.linkOnly(p, &w); !p.OwnLink {
			p.HasDefault, p.Metric, p.Gateway = true, w.Metric, w.Gateway
			// The metric of a route in a table for this source alone cannot be compared
			// with others.
			if d := s.state.Ways[Vantage{unspecified(p.Addrs[0]), p.Index}]; p.Ruled && d.Verdict == oracle.Sent && d.Index == p.Index {
				p.Metric = d.Metric
			}
		} else {
			s.ownRouter(p)
		}
	}
}

// ownRouter looks for a route by a router in the prefix's own network, where the kernel prefers
// one of another network on the link.
func (s *Snapshot) ownRouter(p *Prefix) {
	for i := range s.state.Routes {
		r := &s.state.Routes[i]
		on, here := r.On(p.Index)
		if !here || r.Table != TableMain || !r.Leads() || !r.Wide() || r.Source.IsValid() && !slices.Contains(p.Addrs, r.Source) {
			continue
		}
		for _, h := range on.Hops {
			if !p.Hidden && h.Gateway.IsValid() && p.Prefix.Contains(h.Gateway) {
				p.Hidden, p.Gateway, p.Metric = true, h.Gateway, r.Metric
			}
		}
	}
}

// IntoVPN tells whether the way of an address of the prefix is that of a rule which leads what
// comes from it into a VPN, by a table of its own.
func (s *Snapshot) IntoVPN(p *Prefix, own *oracle.Way) bool {
	v6 := p.Addrs[0].Is6()
	return own.Verdict == oracle.Sent && !own.Shared && own.Index != p.Index && own.Table != s.Default(v6).Table &&
		!s.byIndex[p.Index].Tunnel() && s.PartialVPN(own.Index, v6)
}

// PartialVPN tells whether an interface is a VPN that unbound traffic does not use.
func (s *Snapshot) PartialVPN(index int, ipv6 bool) bool {
	all := s.Default(ipv6)
	if all.Verdict != oracle.Sent {
		return s.vpn(s.byIndex[index], false)
	}
	return all.Index != index && s.vpn(s.byIndex[index], s.byIndex[all.Index].access())
}

// hidden looks for a route by the prefix's interface that the kernel does not find.
func (s *Snapshot) hidden(p *Prefix) {
	v6, objects := p.Addrs[0].Is6(), false
	for i := range s.state.Routes {
		r := &s.state.Routes[i]
		if r.Table != TableMain || !r.Leads() || !r.Wide() || r.Prefix.Addr().Is6() != v6 {
			continue
		}
		on, here := r.On(p.Index)
		if !here {
			objects = objects || r.Object != 0 && !v6
			continue
		}
		if v6 {
			objects = r.Object != 0 && len(r.Hops) > len(on.Hops)
		}
		way := oracle.Way{Verdict: oracle.Sent, Hop: on.Hops[0].Hop, Named: r.Source}
		if objects && !p.Hidden && !s.linkOnly(p, &way) {
			p.Hidden, p.Gateway, p.Metric = true, way.Gateway, r.Metric
		}
	}
}

// byDevice returns the way for sockets that are bound to the prefix's address and
// interface.
func (s *Snapshot) byDevice(p *Prefix) oracle.Way {
	w := s.state.Ways[Vantage{p.Addrs[0], p.Index}]
	if w.Verdict == oracle.Sent && w.Index != p.Index {
		// In a question about an IPv6 source, the kernel may name another interface
		// than the one asked about, although it respects the binding of a real socket.
		// In a question without a source it respects the interface.
		w = s.state.Ways[Vantage{unspecified(p.Addrs[0]), p.Index}]
	}
	return w
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// order moves the address to the front that the kernel would use on the interface. The
// kernel's choice respects the route's source (RTA_PREFSRC) and RFC 6724.
func (s *Snapshot) order(p *Prefix) {
	choice := s.state.Ways[Vantage{unspecified(p.Addrs[0]), p.Index}].Source
	if i := slices.Index(p.Addrs, choice); i > 0 {
		p.Addrs = append([]netip.Addr{choice}, slices.Delete(slices.Clone(p.Addrs), i, i+1)...)
	}
}

// linkOnly tells whether a prefix leads to the destinations of its link only, although
// the kernel would send from it to everywhere.
func (s *Snapshot) linkOnly(p *Prefix, w *oracle.Way) bool {
	// The author of the route has said which address belongs to it. Packets from other
	// addresses may be dropped. They may also lack protection: IPsec recognises its
	// packets by their source.
	if w.Named.IsValid() {
		return !slices.Contains(p.Addrs, w.Named)
	}
	// A site's own addresses have another label than global ones (RFC 6724, section 5,
	// rule 6), because nobody beyond the site could answer to them. VPNs translate
	// them.
	if site.Contains(p.Addrs[0]) && !s.byIndex[p.Index].Tunnel() {
		return true
	}
	// A gateway belongs to the prefix that contains it (RFC 8028). It does not know
	// other prefixes on the link, such as the one for a modem's own page.
	if !w.Gateway.IsGlobalUnicast() || p.Prefix.Contains(w.Gateway) {
		return false
	}
	return slices.ContainsFunc(s.prefixes, func(q Prefix) bool { return q.Index == p.Index && q.Prefix.Contains(w.Gateway) })
}

// site are the unique local addresses (RFC 4193).
var site = netip.MustParsePrefix("fc00::/7")

// twin tells whether another interface has an address of p.
func (s *Snapshot) twin(p *Prefix) bool {
	if p.Scope == ScopeLink { // the zone tells these apart
		return false
	}
	return slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool {
		if !s.borrowed(p.Index, a) {
			return s.owners[a] > 1
		}
		return slices.ContainsFunc(s.lent, func(l Addr) bool { return l.Index != p.Index && l.Prefix.Addr() == a })
	})
}

// borrowed tells whether an interface uses an address of another one.
func (s *Snapshot) borrowed(index int, a netip.Addr) bool {
	return slices.ContainsFunc(s.lent, func(l Addr) bool { return l.Index == index && l.Prefix.Addr() == a })
}

// lent returns the addresses that ways by an interface name as their source, although
// the interface does not have them. Hosts whose address is on loopback have such ways.
func lent(state *State) []Addr {
	var list []Addr
	for v, w := range state.Ways {
		if !v.Source.IsUnspecified() || w.Verdict != oracle.Sent || w.Shared || !w.Named.IsValid() || v.Device != 0 && v.Device != w.Index {
			continue
		}
		a := Addr{Index: w.Index, Prefix: netip.PrefixFrom(w.Named, w.Named.BitLen()), Scope: ScopeOf(w.Named), lent: true}
		own := func(b Addr) bool { return b.Index == a.Index && b.Prefix.Addr() == w.Named }
		if !slices.ContainsFunc(state.Addrs, own) && !slices.ContainsFunc(list, own) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b Addr) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), a.Prefix.Addr().Compare(b.Prefix.Addr()))
	})
	return list
}

// DefaultEgress returns the interface by which the kernel sends to far destinations
// from unbound sockets. ok is false if it would not send.
func (s *Snapshot) DefaultEgress(ipv6 bool) (Link, bool) {
	w := s.Default(ipv6)
	if w.Verdict != oracle.Sent {
		return Link{}, false
	}
	return s.Link(w.Index)
}

// Default returns the way to everywhere for unbound sockets.
func (s *Snapshot) Default(ipv6 bool) oracle.Way {
	source := netip.IPv4Unspecified()
	if ipv6 {
		source = netip.IPv6Unspecified()
	}
	return s.state.Ways[Vantage{Source: source}]
}

// FullTunnel returns the interface of a VPN that takes all traffic of a family: a
// tunnel by which the kernel sends unbound traffic to most destinations, by whatever
// routes or rules, while another interface carries the tunnel.
func (s *Snapshot) FullTunnel(ipv6 bool) (Link, bool) {
	l, ok := s.DefaultEgress(ipv6)
	if !ok || s.translates(l) {
		return Link{}, false
	}
	carried, beside := false, false
	for i := range s.prefixes {
		p := &s.prefixes[i]
		below := s.byIndex[p.Index]
		if p.Scope == ScopeGlobal && !p.Loopback && p.Index != l.Index && !below.Tunnel() && !below.L2TP {
			carried = true
			beside = beside || p.HasDefault && below.access()
		}
	}
	if !carried || !s.vpn(l, beside) {
		return Link{}, false
	}
	return l, true
}

// vpn tells whether a link is a VPN. A PPP link with a small MTU may be a modem all the
// same. So it counts as a VPN only if beside says that another access is known.
func (s *Snapshot) vpn(l Link, beside bool) bool {
	switch {
	case l.private():
		return true
	case l.Type != kindPPP || l.PPPoE:
		return false
	case l.L2TP || s.detoured(l):
		return true
	}
	return beside && l.MTU < plainMTU
}

// plainMTU is the MTU of PPP if nothing else needs room, as on a serial line (RFC 1661,
// section 6.1).
const plainMTU = 1500

// detoured tells whether some destination is reached by another link that is not a
// tunnel. If l is a VPN, its server must be such a destination.
func (s *Snapshot) detoured(l Link) bool {
	return slices.ContainsFunc(s.state.Detours, func(index int) bool { return index != l.Index && !s.byIndex[index].Tunnel() })
}

// VirtualAddr returns the address of a VPN that takes all traffic of a family but has
// no interface, such as IPsec by policy (RFC 4301). Two things show such an address. It
// was added to a link, or to loopback, besides the link's own address. And routes name
// it as their source that come before the link's own default route.
func (s *Snapshot) VirtualAddr(ipv6 bool) (netip.Addr, bool) {
	w, fallback := s.Default(ipv6), s.state.Fallback[0]
	if ipv6 {
		fallback = s.state.Fallback[1]
	}
	if w.Table == TableMain && !w.Parts && !fallback || !s.virtual(ipv6) {
		return netip.Addr{}, false
	}
	return w.Named, true
}

// virtual tells whether the source that the way to everywhere names is alone in its
// network, while its interface has another address besides.
func (s *Snapshot) virtual(ipv6 bool) bool {
	w := s.Default(ipv6)
	if w.Verdict != oracle.Sent || !w.Named.IsValid() {
		return false
	}
	alone, beside := false, false
	for i := range s.prefixes {
		p := &s.prefixes[i]
		if p.Index != w.Index || p.Scope != ScopeGlobal || p.Prefix.Addr().Is6() != ipv6 {
			continue
		}
		if slices.Contains(p.Addrs, w.Named) {
			alone = p.Prefix.IsSingleIP()
		} else {
			beside = true
		}
	}
	return alone && beside
}

// translates tells whether a link belongs to a translator of this host that provides
// IPv4 in an IPv6 network (464XLAT, RFC 6877). Its addresses come from a range that is
// reserved for these.
func (s *Snapshot) translates(l Link) bool {
	return slices.ContainsFunc(s.prefixes, func(p Prefix) bool { return p.Index == l.Index && clat.Contains(p.Addrs[0]) })
}

// clat is the IPv4 service continuity prefix (RFC 7335).
var clat = netip.MustParsePrefix("192.0.0.0/29")

// Beside tells whether sending by a prefix would go around a VPN that takes all
// traffic. A VPN that takes all IPv4 traffic is taken to be meant for all traffic:
// whoever set it up did not think of IPv6, rather than wanting it outside (RFC 7359). A
// VPN that takes all IPv6 traffic says nothing about IPv4, which it cannot carry.
func (s *Snapshot) Beside(p *Prefix) bool {
	in4, four := s.within(p, false)
	in6, six := s.within(p, true)
	switch {
	case four:
		return !in4 && !in6
	case six:
		return p.Prefix.Addr().Is6() && !in6
	}
	return false
}

// within tells whether sending by a prefix is sending by a VPN that takes all traffic
// of a family, and whether there is such a VPN.
func (s *Snapshot) within(p *Prefix, ipv6 bool) (in, there bool) {
	if l, ok := s.FullTunnel(ipv6); ok {
		return p.Index == l.Index || s.shares(p, ipv6), true
	}
	if a, ok := s.VirtualAddr(ipv6); ok {
		return slices.Contains(p.Addrs, a), true
	}
	return false, false
}

// shares tells whether the route of unbound traffic to everywhere leads by the prefix's
// interface, too.
func (s *Snapshot) shares(p *Prefix, ipv6 bool) bool {
	all := s.Default(ipv6)
	if !all.Shared {
		return false
	}
	unbound := netip.IPv4Unspecified()
	if ipv6 {
		unbound = netip.IPv6Unspecified()
	}
	w := s.state.Ways[Vantage{unbound, p.Index}]
	return w.Verdict == oracle.Sent && w.Index == p.Index && w.Table == all.Table && w.Metric == all.Metric
}
