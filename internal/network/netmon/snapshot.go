package netmon

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// Snapshot is the state of the host's networks at one moment. It is immutable, so that
// several goroutines may use it at once. Nobody may modify what its methods return.
type Snapshot struct {
	state    State
	prefixes []Prefix
	byIndex  map[int]Link
	byName   map[string]Link
	owners   map[netip.Addr]int // number of interfaces that have the address
	lent     []Addr             // see Prefix.Lent
	lo       int                // index of the loopback interface
}

// NewSnapshot groups a state into prefixes. It keeps the state.
func NewSnapshot(state State) *Snapshot {
	state.Links = slices.Clone(state.Links) // the list may be shared with other snapshots
	markCarriers(state.Links)
	s := &Snapshot{state: state, byIndex: map[int]Link{}, byName: map[string]Link{}, owners: map[netip.Addr]int{}}
	for _, l := range state.Links {
		s.byIndex[l.Index] = l
		s.byName[l.Name] = l
		if l.Loopback && s.lo == 0 {
			s.lo = l.Index
		}
	}
	for _, l := range state.Links {
		for _, name := range l.AltNames {
			if _, taken := s.byName[name]; !taken {
				s.byName[name] = l
			}
		}
	}
	s.lent = lent(&state)
	s.prefixes = group(s.byIndex, slices.Concat(state.Addrs, s.lent))
	for i := range s.prefixes {
		for _, a := range s.prefixes[i].Addrs {
			if !s.borrowed(s.prefixes[i].Index, a) {
				s.owners[a]++
			}
		}
	}
	s.judge()
	return s
}

// endedLink is a link that no longer carries anything.
type endedLink struct {
	index int
	up    bool // it is not switched off, but has no carrier
}

// without returns the snapshot as it is when the links carry nothing. It returns s itself
// if that was known.
func (s *Snapshot) without(ended []endedLink) *Snapshot {
	state := s.state
	for _, e := range ended {
		i := slices.IndexFunc(state.Links, func(l Link) bool { return l.Index == e.index })
		if i < 0 {
			continue
		}
		l := state.Links[i]
		l.Running, l.Up = false, l.Up && e.up
		if l.equal(state.Links[i]) {
			continue
		}
		if &state.Links[0] == &s.state.Links[0] {
			state.Links = slices.Clone(state.Links)
		}
		state.Links[i] = l
	}
	if len(state.Links) == 0 || &state.Links[0] == &s.state.Links[0] {
		return s
	}
	return NewSnapshot(state)
}

// Prefixes returns the prefixes of all interfaces that are up, loopback
// included, in prefix-list order: IPv4 before IPv6, then by interface index.
func (s *Snapshot) Prefixes() []Prefix { return s.prefixes }

// Links returns the interfaces in the order of their index.
func (s *Snapshot) Links() []Link { return s.state.Links }

// Addrs returns all addresses, including those that cannot be used.
func (s *Snapshot) Addrs() []Addr { return s.state.Addrs }

// Routes returns the routes to everywhere of all tables, and the routes of table main
// to neighbours. It returns none unless routes were asked for, see Options.
func (s *Snapshot) Routes() []oracle.Route { return s.state.Routes }

// Turn returns the default routes of IPv4 among which the kernel changes by itself.
func (s *Snapshot) Turn() oracle.Turn { return s.state.Turn }

// Specific tells whether a table has routes that do not lead to everywhere. It is
// always false unless routes were asked for. Tables main and local always have some.
func (s *Snapshot) Specific(table int, ipv6 bool) bool {
	return table == TableMain || table == tableLocal || s.state.Specific[TableOf{ipv6, table}]
}

// Pieces returns the routes by which a VPN takes all traffic of a family piece by
// piece. It returns none unless routes were asked for.
func (s *Snapshot) Pieces(ipv6 bool) *Pieces {
	if ipv6 {
		return &s.state.Pieces[1]
	}
	return &s.state.Pieces[0]
}

// Hardware returns the link-layer address of a prefix's gateway, as text; "" if it has none,
// or the kernel has had no need to know it.
func (s *Snapshot) Hardware(p *Prefix) string {
	return s.state.Gateways[Gateway{p.Index, p.Gateway.Unmap().WithZone("")}]
}

// Rules returns the policy rules by family, in the kernel's order.
func (s *Snapshot) Rules() []Rule { return s.state.Rules }

// Link returns the interface with the index.
func (s *Snapshot) Link(index int) (Link, bool) {
	l, ok := s.byIndex[index]
	return l, ok
}

// Loopback returns the index of the loopback interface, 0 if there is none.
func (s *Snapshot) Loopback() int { return s.lo }

// LinkByName returns the interface with this name, which may be an alternative name.
func (s *Snapshot) LinkByName(name string) (Link, bool) {
	l, ok := s.byName[name]
	return l, ok
}

// PrefixOf returns the first prefix that contains a, nil if none does.
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

// PrefixOn returns the prefix of an interface, nil if there is none.
func (s *Snapshot) PrefixOn(index int, prefix netip.Prefix) *Prefix {
	for i := range s.prefixes {
		if p := &s.prefixes[i]; p.Index == index && p.Prefix == prefix {
			return p
		}
	}
	return nil
}

// Equal tells whether two snapshots show the same state.
func (s *Snapshot) Equal(o *Snapshot) bool {
	return slices.EqualFunc(s.state.Links, o.state.Links, Link.equal) &&
		slices.Equal(s.state.Addrs, o.state.Addrs) &&
		slices.EqualFunc(s.state.Routes, o.state.Routes, func(a, b oracle.Route) bool { return a.Equal(&b) }) &&
		maps.Equal(s.state.Specific, o.state.Specific) &&
		s.state.Pieces[0].equal(&o.state.Pieces[0]) && s.state.Pieces[1].equal(&o.state.Pieces[1]) &&
		slices.Equal(s.state.Rules, o.state.Rules) &&
		maps.Equal(s.state.Ways, o.state.Ways) &&
		maps.Equal(s.state.Barred, o.state.Barred) &&
		maps.Equal(s.state.Gateways, o.state.Gateways) &&
		slices.Equal(s.state.Detours, o.state.Detours) &&
		s.state.Fallback == o.state.Fallback && s.state.Turn.Equal(&o.state.Turn)
}

// ZoneIndex reads an IPv6 zone, which is a name or an index. It returns 0 if it is
// neither.
func (s *Snapshot) ZoneIndex(zone string) int {
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
