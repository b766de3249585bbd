package netmon

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
)

// Snapshot is the state of the host's networks at one moment. It is immutable;
// nobody may modify what its methods return. It may be used by several
// goroutines at once.
type Snapshot struct {
	state    State
	prefixes []Prefix
	byIndex  map[int]Link
	byName   map[string]Link
	lo       int // index of the loopback interface
	main     table
	local    table
}

// NewSnapshot groups a state, which it keeps.
func NewSnapshot(state State) *Snapshot {
	s := &Snapshot{state: state, byIndex: map[int]Link{}, byName: map[string]Link{}}
	for _, l := range state.Links {
		s.byIndex[l.Index] = l
		s.byName[l.Name] = l
		if l.Loopback && s.lo == 0 {
			s.lo = l.Index
		}
	}
	s.main = newTable(state.Routes, TableMain)
	s.local = newTable(state.Routes, TableLocal)
	s.prefixes = group(s.byIndex, state.Addrs)
	defaults := bestDefaults(state)
	for i := range s.prefixes {
		p := &s.prefixes[i]
		if r, ok := defaults[defaultKey{p.Index, p.Prefix.Addr().Is6()}]; ok {
			p.HasDefault, p.Metric, p.Gateway = true, r.Metric, r.Gateway
		}
	}
	s.setEgress(state.Egress)
	return s
}

// setEgress is for whoever needs the snapshot to find egress out, before the
// snapshot is published.
func (s *Snapshot) setEgress(egress map[netip.Addr]int) {
	s.state.Egress = egress
	for i := range s.prefixes {
		if p := &s.prefixes[i]; p.Scope == ScopeGlobal {
			p.Egress = egress[p.Addrs[0]]
		}
	}
}

type defaultKey struct {
	index int
	ipv6  bool
}

// bestDefaults finds the default route of each interface and family.
func bestDefaults(state State) map[defaultKey]Route {
	ruled := map[int]bool{TableMain: true}
	for _, r := range state.Rules {
		ruled[r.Table] = true
	}
	best := map[defaultKey]Route{}
	for _, r := range state.Routes {
		if r.Type != Unicast || !r.Default() || !ruled[r.Table] || r.Table == TableLocal {
			continue
		}
		k := defaultKey{r.Index, r.Prefix.Addr().Is6()}
		old, ok := best[k]
		if !ok || cmp.Or(falseFirst(r.Table != TableMain, old.Table != TableMain), cmp.Compare(r.Metric, old.Metric)) < 0 {
			best[k] = r
		}
	}
	return best
}

// Prefixes returns the prefixes of all interfaces that are up, loopback
// included, in prefix-list order: IPv4 before IPv6, then by interface index.
func (s *Snapshot) Prefixes() []Prefix { return s.prefixes }

// Links returns the interfaces, by index.
func (s *Snapshot) Links() []Link { return s.state.Links }

// Addrs returns all addresses, those that cannot be used included.
func (s *Snapshot) Addrs() []Addr { return s.state.Addrs }

// Routes returns the routes of all tables.
func (s *Snapshot) Routes() []Route { return s.state.Routes }

// Rules returns the policy rules, by family and priority.
func (s *Snapshot) Rules() []Rule { return s.state.Rules }

// Link returns the interface with the index.
func (s *Snapshot) Link(index int) (Link, bool) {
	l, ok := s.byIndex[index]
	return l, ok
}

// LinkByName returns the interface with the name.
func (s *Snapshot) LinkByName(name string) (Link, bool) {
	l, ok := s.byName[name]
	return l, ok
}

// PrefixOf returns the first prefix that a lies in, nil if there is none.
func (s *Snapshot) PrefixOf(a netip.Addr) *Prefix {
	for i := range s.prefixes {
		if s.prefixes[i].Contains(a) {
			return &s.prefixes[i]
		}
	}
	return nil
}

// PrefixWith returns the prefix that has a as one of its addresses, nil if
// there is none.
func (s *Snapshot) PrefixWith(a netip.Addr) *Prefix {
	bare := a.Unmap().WithZone("")
	for i := range s.prefixes {
		if p := &s.prefixes[i]; p.Contains(a) && slices.Contains(p.Addrs, bare) {
			return p
		}
	}
	return nil
}

// DefaultEgress returns the interface by which the kernel sends to
// destinations far away from sockets that are not bound; false if it would not.
// A default route in table main need not be the answer: rules come first.
func (s *Snapshot) DefaultEgress(ipv6 bool) (Link, bool) {
	source := netip.IPv4Unspecified()
	if ipv6 {
		source = netip.IPv6Unspecified()
	}
	if index, ok := s.state.Egress[source]; ok {
		return s.Link(index)
	}
	return Link{}, false
}

// FullTunnel returns the interface of a VPN that takes all traffic: a tunnel
// by which the kernel sends what is not bound, whether by a default route, the
// two half-defaults or a rule, while another interface carries the tunnel.
func (s *Snapshot) FullTunnel() (Link, bool) {
	for _, ipv6 := range []bool{false, true} {
		l, ok := s.DefaultEgress(ipv6)
		if !ok || !l.Tunnel() {
			continue
		}
		carried := slices.ContainsFunc(s.prefixes, func(p Prefix) bool {
			below := s.byIndex[p.Index]
			return p.Scope == ScopeGlobal && !p.Loopback && !below.Tunnel()
		})
		if carried {
			return l, true
		}
	}
	return Link{}, false
}

// Equal tells whether two snapshots show the same state.
func (s *Snapshot) Equal(o *Snapshot) bool {
	return slices.Equal(s.state.Links, o.state.Links) &&
		slices.Equal(s.state.Addrs, o.state.Addrs) &&
		slices.Equal(s.state.Routes, o.state.Routes) &&
		slices.Equal(s.state.Rules, o.state.Rules) &&
		maps.Equal(s.state.Egress, o.state.Egress)
}

// zoneIndex reads an IPv6 zone, a name or an index; 0 if it is neither.
func (s *Snapshot) zoneIndex(zone string) int {
	if l, ok := s.byName[zone]; ok {
		return l.Index
	}
	if index, err := strconv.Atoi(zone); err == nil {
		if _, ok := s.byIndex[index]; ok {
			return index
		}
	}
	return 0
}
