package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/selection"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// managed is a prefix that the daemon manages, as the configuration says.
type managed struct {
	prefix   policy.Prefix // without measurements
	settings config.PrefixSettings
	device   string // interface to bind sockets to; "" if the source address is enough
	// fromLink tells that the name servers in settings are those that the network
	// manager has for the link, because nobody configured others.
	fromLink   bool
	linkSource string // who named them, if fromLink
	extent     mam.Extent
	altNames   []string // of the interface
	costSource string   // who says what the prefix costs; "": nobody
	attachment string   // what the interface is attached to; "": not known
	stay       uint64   // another one whenever the attachment may be another one
	portal     string   // what the network has told of a portal; "": nothing
	doubt      string   // why a service of the host says that it may not get far; "": none says so
}

// manage returns the prefixes that cfg selects, as managed ones. facts may be nil.
func manage(cfg *config.Config, nets *netmon.Snapshot, facts *hostfacts.Facts) []managed {
	var list []managed
	for _, n := range selection.Select(cfg, nets) {
		p, s := &n.Prefix, n.Settings
		m := managed{settings: s, device: device(cfg.BindDevice, p), extent: extent(p)}
		m.prefix = policy.Prefix{
			ID:        policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix},
			Interface: p.Interface, Index: p.Index, CIDR: p.Prefix, Addrs: p.Addrs,
			Name: s.Name, Default: s.Default != nil && *s.Default, Cost: s.Cost, Options: s.Options,
		}
		if l, ok := nets.Link(p.Index); ok {
			m.altNames = l.AltNames
		}
		if !p.Running {
			m.prefix.Health = policy.Health{State: policy.Down, Reason: "the link has no carrier"}
		}
		m.hear(facts)
		list = append(list, m)
	}
	inherit(list, nets, facts)
	// If the configured default prefix is gone, the kernel's choice is marked in its
	// place. The original then has no default.
	if cfg.Auto || !cfg.Original && slices.ContainsFunc(cfg.Blocks, func(b config.Block) bool { return b.Default != nil && *b.Default }) {
		markDefaults(list, nets, cfg.Routing == config.RoutingManage)
	}
	return list
}

// extent returns how far a prefix leads.
func extent(p *netmon.Prefix) mam.Extent {
	switch {
	case p.Barred:
		return mam.Nowhere
	case p.HasDefault:
		return mam.Everywhere
	}
	return mam.OwnLink
}

// device returns the interface that a socket must be bound to so that its packets leave
// by p. It returns "" unless the kernel knows a route from p's interface. Without such
// a route, binding would do harm: the kernel would take every destination for a
// neighbour.
func device(when config.BindDevice, p *netmon.Prefix) string {
	switch {
	case p.Loopback || when == config.BindNever:
		return ""
	case when == config.BindAlways:
		return p.Interface
	case p.Scope == netmon.ScopeGlobal && (p.Twin || p.HasDefault && p.Egress != p.Index):
		return p.Interface
	}
	return ""
}

// markDefaults marks the prefix that the kernel itself would use, in each family
// without a marked one. That is the prefix on the interface by which the kernel sends
// unbound traffic, with the address that the kernel chooses there. If that prefix is
// not managed, the prefix with the preferred route is marked. If the daemon manages
// routes, only prefixes count that lead somewhere after that.
func markDefaults(list []managed, nets *netmon.Snapshot, manages bool) {
	for _, f := range []policy.Family{policy.IPv4, policy.IPv6} {
		way := nets.Default(f == policy.IPv6)
		var best *managed
		var bestRank [3]int // of the best prefix per family; lower is better
		for i := range list {
			m := &list[i]
			if m.prefix.Family() != f {
				continue
			}
			if m.prefix.Default {
				best = nil
				break
			}
			p := nets.PrefixOn(m.prefix.Index, m.prefix.CIDR)
			if p == nil || !p.HasDefault && (!manages || !p.Hidden) || m.settings.Default != nil {
				continue
			}
			rank := [3]int{zeroIf(p.Index == way.Index), zeroIf(slices.Contains(p.Addrs, way.Source)), p.Metric}
			if best == nil || slices.Compare(rank[:], bestRank[:]) < 0 {
				best, bestRank = m, rank
			}
		}
		if best != nil {
			best.prefix.Default = true
		}
	}
}

func zeroIf(b bool) int {
	if b {
		return 0
	}
	return 1
}

// twoDefaults warns about families with default prefixes on several interfaces, because
// policies use only the first. Several on one interface are normal.
func twoDefaults(list []managed) (warnings []string) {
	for _, f := range []policy.Family{policy.IPv4, policy.IPv6} {
		var first *policy.Prefix
		for i := range list {
			p := &list[i].prefix
			switch {
			case !p.Default || p.Family() != f:
			case first == nil:
				first = p
			case p.Interface != first.Interface:
				warnings = append(warnings, fmt.Sprintf("%v on %s is a second default of %v; that on %s, which comes first, is used", p.CIDR, p.Interface, f, first.Interface))
			}
		}
	}
	return warnings
}

// measured makes the prefixes to publish: the managed ones, with all that is known now.
// Measurements of another interface that had the same name before are left out.
func measured(list []managed, stats *pathstat.Snapshot) []*policy.Prefix {
	all := make([]policy.Prefix, len(list))
	out := make([]*policy.Prefix, len(list))
	for i := range list {
		all[i] = list[i].prefix
		all[i].Stats = stats.Paths[all[i].ID]
		if stats.Measured(all[i].Interface, all[i].Index) {
			all[i].Link = stats.Links[all[i].Interface]
			all[i].Wifi = stats.Wifi[all[i].Interface]
		}
		out[i] = &all[i]
	}
	return out
}

// measurable returns the prefixes for the sampler: the managed ones, and all others too
// if the original's logs are written, which contain all of them
// (doc/original/measurement.md section 1).
func measurable(list []managed, nets *netmon.Snapshot, logged bool) []pathstat.Prefix {
	out := make([]pathstat.Prefix, len(list))
	known := make(map[policy.PrefixID]bool, len(list))
	for i := range list {
		p := &list[i].prefix
		link, _ := nets.Link(p.Index)
		out[i] = pathstat.Prefix{ID: p.ID, Index: p.Index, Addrs: p.Addrs, Loopback: link.Loopback, Attachment: list[i].attachment, Stay: list[i].stay}
		known[p.ID] = true
	}
	if !logged {
		return out
	}
	for _, p := range nets.Prefixes() {
		id := policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}
		if !p.Loopback && !known[id] {
			out = append(out, pathstat.Prefix{ID: id, Index: p.Index, Addrs: p.Addrs})
		}
	}
	return out
}

// local returns a function that tells whether an address belongs to the host.
func local(nets *netmon.Snapshot) func(netip.Addr) bool {
	addrs := map[netip.Addr]bool{}
	for _, a := range nets.Addrs() {
		addrs[a.Prefix.Addr()] = true
	}
	return func(a netip.Addr) bool {
		return a.IsLoopback() || addrs[a.Unmap().WithZone("")]
	}
}

// addressed returns a function that tells of which families the host has addresses. It
// counts for AI_ADDRCONFIG as getaddrinfo(3) of glibc does: all addresses except
// 127.0.0.1 and ::1, even link-local ones and those of interfaces that are down.
func addressed(nets *netmon.Snapshot) func(policy.Family) bool {
	var has [3]bool
	for _, a := range nets.Addrs() {
		if ip := a.Prefix.Addr(); ip != netip.IPv6Loopback() && ip != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
			has[policy.FamilyOf(ip)] = true
		}
	}
	return func(f policy.Family) bool { return has[f] }
}

// zones returns a function that finds the index of an interface by name.
func zones(nets *netmon.Snapshot) func(string) (int, bool) {
	return func(name string) (int, bool) {
		l, ok := nets.LinkByName(name)
		return l.Index, ok
	}
}

// routes implements mam.Routes by asking the kernel. The zero value knows no routes.
type routes struct{ *oracle.Reacher }

// newRoutes makes routes for the networks in list, whose devices the kernel is asked
// about.
func newRoutes(kernel *oracle.Kernel, cfg *config.Config, nets *netmon.Snapshot, list []managed) routes {
	scope := oracle.Scope{Everywhere: oracle.EverywhereOf(cfg.FarAway), Loopback: nets.Loopback(), Zone: nets.ZoneIndex, Turn: nets.Turn()}
	for i := range list {
		m := &list[i]
		if index := m.prefix.Index; !slices.Contains(scope.Devices, index) {
			scope.Devices = append(scope.Devices, index)
		}
	}
	scope.Origins = origins(nets, list)
	for _, r := range nets.Rules() {
		scope.User = scope.User || r.Users
		scope.Protocol = scope.Protocol || r.Protocol != 0
		scope.Port = scope.Port || r.Port
	}
	if kernel == nil { // only in tests
		return routes{}
	}
	return routes{oracle.NewReacher(kernel, scope)}
}

// origins returns the networks for which the kernel must be asked separately: those
// bound to a device, and those whose source address matters to a route or to a rule of
// somebody else.
func origins(nets *netmon.Snapshot, list []managed) []oracle.Origin {
	asked := make([]bool, len(list))
	origins := make([]oracle.Origin, len(list))
	for i := range list {
		m := &list[i]
		origins[i] = oracle.Origin{Index: m.prefix.Index, Source: m.prefix.Addr(), Bound: m.device != ""}
		asked[i] = m.device != "" && m.extent != mam.Nowhere
		if p := nets.PrefixOn(m.prefix.Index, m.prefix.CIDR); p != nil {
			// If the address leads elsewhere and no socket is bound to the interface,
			// only refusals matter.
			origins[i].Bound = origins[i].Bound || p.Egress != p.Index
			asked[i] = asked[i] || p.BySource
		}
	}
	for _, r := range nets.Rules() {
		if !r.Source.IsValid() || routing.Ours(&r) {
			continue
		}
		for i := range list {
			asked[i] = asked[i] || r.Source.Contains(origins[i].Source)
		}
	}
	out := origins[:0]
	for i := range origins {
		if asked[i] && origins[i].Source.IsValid() {
			out = append(out, origins[i])
		}
	}
	return out
}

func (r routes) Reach(f mam.Flow) mam.Reach {
	if r.Reacher == nil {
		return mam.Reach{}
	}
	flow := oracle.Flow{Dst: f.Dst, User: f.User, UserUnknown: f.UserUnknown, Port: f.Port}
	switch f.Transport {
	case policy.Stream:
		flow.Protocol = unix.IPPROTO_TCP
	case policy.Datagram:
		flow.Protocol = unix.IPPROTO_UDP
	}
	return mam.Reach(r.Reacher.Reach(flow))
}
