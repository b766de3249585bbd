package routing

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/policy"
)

// The marks of our rules and routes. No registered user (rt_protos of iproute2)
// has the number, and distributions use none of the tables.
const (
	// Protocol is the originator of rules (FRA_PROTOCOL, Linux 4.17) and routes.
	Protocol = 77
	// FirstTable and LastTable bound the routing tables.
	FirstTable, LastTable = 7700, 8699
	// MainPriority is that of the rules into table main, OwnPriority that of the
	// rules into a prefix's own. Both come before main's (32766) and those that
	// VPNs usually add just before it.
	MainPriority, OwnPriority = 7700, 7701
)

// Route is a route in a table of ours.
type Route struct {
	Table   int
	Prefix  netip.Prefix
	Index   int
	Gateway netip.Addr // invalid: on the link
	Metric  int
	OnLink  bool // the gateway is reached though no route says so
}

// Rule leads packets from an address to a table.
type Rule struct {
	Priority int
	Source   netip.Addr
	Table    int
	// Suppress is up to which prefix length what the table says does not count;
	// negative: all counts.
	Suppress int
}

// Plan is what should be there. Both lists are in the order to add them
// and have no doubles.
type Plan struct {
	Routes []Route
	Rules  []Rule
}

// Tables numbers the prefixes' tables, and keeps the numbers as long as a prefix
// is there. The zero value is ready.
type Tables struct {
	byPrefix map[policy.PrefixID]int
}

// of gives the tables of the prefixes; 0 where there are more than numbers.
func (t *Tables) of(ids []policy.PrefixID) map[policy.PrefixID]int {
	next := map[policy.PrefixID]int{}
	used := map[int]bool{}
	for _, id := range ids {
		if n, ok := t.byPrefix[id]; ok {
			next[id], used[n] = n, true
		}
	}
	n := FirstTable
	for _, id := range ids {
		if next[id] != 0 {
			continue
		}
		for used[n] {
			n++
		}
		if n > LastTable {
			break
		}
		next[id], used[n] = n, true
	}
	t.byPrefix = next
	return next
}

// Plan tells what the given prefixes need on a host. Prefixes without a default
// route on their interface need nothing, as nothing would be gained.
func (t *Tables) Plan(ids []policy.PrefixID, nets *netmon.Snapshot) Plan {
	var plan Plan
	tables := t.of(ids)
	prefixes := nets.Prefixes()
	for i := range prefixes {
		p := &prefixes[i]
		table := tables[policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}]
		if table == 0 || p.Scope != netmon.ScopeGlobal || p.Loopback {
			continue
		}
		routes := routesOf(p, table, nets)
		if !slices.ContainsFunc(routes, func(r Route) bool { return netmon.Route{Prefix: r.Prefix}.Default() }) {
			continue
		}
		plan.Routes = append(plan.Routes, routes...)
		suppress := 1 // default routes, and the halves of one
		if p.Prefix.Addr().Is6() {
			suppress = 3 // 2000::/3 too
		}
		for _, a := range p.Addrs {
			if !twin(p, prefixes) {
				plan.Rules = append(plan.Rules, Rule{Priority: MainPriority, Source: a, Table: netmon.TableMain, Suppress: suppress})
			}
			plan.Rules = append(plan.Rules, Rule{Priority: OwnPriority, Source: a, Table: table, Suppress: -1})
		}
	}
	slices.SortFunc(plan.Routes, compareRoutes)
	// The kernel holds one route for a prefix and metric; the rest would replace
	// each other.
	plan.Routes = slices.CompactFunc(plan.Routes, func(a, b Route) bool {
		return a.Table == b.Table && a.Prefix == b.Prefix && a.Metric == b.Metric
	})
	slices.SortFunc(plan.Rules, compareRules)
	plan.Rules = slices.Compact(plan.Rules)
	return plan
}

// twin tells whether another interface has the same network.
func twin(p *netmon.Prefix, all []netmon.Prefix) bool {
	return slices.ContainsFunc(all, func(q netmon.Prefix) bool { return q.Index != p.Index && q.Prefix == p.Prefix })
}

// routesOf copies the routes of the prefix's interface, of its family, from
// table main; the default route, if main has none, from where a rule leads.
// Among several default routes by gateways the prefix's own network is
// preferred, since with two providers on a link each drops the other's sources
// (RFC 8028).
func routesOf(p *netmon.Prefix, table int, nets *netmon.Snapshot) []Route {
	is6 := p.Prefix.Addr().Is6()
	ruled := map[int]bool{}
	for _, r := range nets.Rules() {
		ruled[r.Table] = true
	}
	var routes, main, elsewhere []Route
	for _, r := range nets.Routes() {
		if r.Index != p.Index || r.Prefix.Addr().Is6() != is6 || r.Type != netmon.Unicast || r.Table >= FirstTable && r.Table <= LastTable {
			continue
		}
		own := Route{Table: table, Prefix: r.Prefix, Index: r.Index, Gateway: r.Gateway, Metric: r.Metric}
		switch {
		case r.Table == netmon.TableMain && !r.Default():
			routes = append(routes, own)
		case r.Table == netmon.TableMain:
			main = append(main, own)
		case r.Default() && ruled[r.Table]:
			elsewhere = append(elsewhere, own)
		}
	}
	if len(main) == 0 {
		main = elsewhere
	}
	if slices.ContainsFunc(main, func(r Route) bool { return p.Prefix.Contains(r.Gateway) }) {
		main = slices.DeleteFunc(main, func(r Route) bool { return r.Gateway.IsGlobalUnicast() && !p.Prefix.Contains(r.Gateway) })
	}
	routes = append(routes, main...)
	for i := range routes {
		r := &routes[i]
		r.OnLink = r.Gateway.IsValid() && !r.Gateway.IsLinkLocalUnicast() && !slices.ContainsFunc(routes, func(o Route) bool {
			return !o.Gateway.IsValid() && o.Prefix.Contains(r.Gateway)
		})
	}
	return routes
}

func compareRoutes(a, b Route) int {
	return cmp.Or(
		cmp.Compare(a.Table, b.Table),
		// Long prefixes first: those of the link, by which gateways are reached.
		cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Metric, b.Metric), a.Gateway.Compare(b.Gateway), cmp.Compare(a.Index, b.Index),
		cmp.Compare(bit(a.OnLink), bit(b.OnLink)),
	)
}

func compareRules(a, b Rule) int {
	return cmp.Or(
		cmp.Compare(a.Priority, b.Priority), a.Source.Compare(b.Source),
		cmp.Compare(a.Table, b.Table), cmp.Compare(a.Suppress, b.Suppress),
	)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
