package routing

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/policy"
)

// The marks of our rules and routes. No registered program (rt_protos of iproute2) has
// the number, and no distribution uses the tables.
const (
	// Protocol marks our rules (FRA_PROTOCOL, Linux 4.17) and routes.
	Protocol = 77
	// FirstTable and LastTable are the bounds of our routing tables.
	FirstTable, LastTable = 7700, 8699
	// FirstPriority is the lowest priority of our rules. They come directly before the
	// rule that would lead packets elsewhere, which is mostly the rule for table main.
	// If that rule has a lower priority, they come after it.
	FirstPriority = 7699
)

// Route is a route in one of our tables. It has everything that the copied route has.
type Route struct {
	oracle.Route
	// Apart makes IPv6 keep the route apart from others with the same destinations and
	// metric, as it keeps the routes of announcing routers. The kernel then uses the
	// route whose router answers and is preferred (RFC 4191). Otherwise it would spread
	// connections over all of them.
	Apart bool
}

// Rule leads packets from an address to a table.
type Rule struct {
	Priority int
	Source   netip.Addr
	// Device limits the rule to sockets that are bound to the interface; "": no limit.
	Device string
	Table  int
	// Suppress is the prefix length up to which the table's routes do not count;
	// negative: all routes count.
	Suppress int
}

// Plan is what the kernel should have. Both lists are in the order of adding, and have
// no doubles. All rules of one address have the same priority, so the kernel applies
// them in the order of the list.
type Plan struct {
	Routes []Route
	Rules  []Rule
}

// Tables numbers the routing tables, and keeps the numbers as long as they are needed.
// The zero value is ready to use.
type Tables struct {
	byContent map[content]int
}

// content identifies what is in a table.
type content struct {
	link link
	// neighbours tells that the table has the link's routes to neighbours.
	neighbours bool
	// own is the prefix whose routes to everywhere are in the table, if these are not
	// all routes of the link to everywhere.
	own netip.Prefix
	// below tells that a VPN takes all traffic by many routes; see the function below.
	below bool
}

// link is an interface in one family.
type link struct {
	name string
	ipv6 bool
}

// of returns the numbers of the tables; 0 if all numbers are used.
func (t *Tables) of(wanted []content) map[content]int {
	next := map[content]int{}
	used := map[int]bool{}
	for _, c := range wanted {
		if n, ok := t.byContent[c]; ok {
			next[c], used[n] = n, true
		}
	}
	n := FirstTable
	for _, c := range wanted {
		if next[c] != 0 {
			continue
		}
		for used[n] {
			n++
		}
		if n > LastTable {
			break
		}
		next[c], used[n] = n, true
	}
	t.byContent = next
	return next
}

// MaxEntries bounds a plan. It is enough for hosts with thousands of addresses. The
// kernel searches a list for each rule, and changes about this many in a second.
const MaxEntries = 16384

// TooLargeError says that a plan is too large to be carried out.
type TooLargeError struct {
	Routes, Rules int
	Tables        int // how many tables the plan needs
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%d routes and %d rules in %d tables would be needed, and the limits are %d routes and rules together, and %d tables: configure fewer networks",
		e.Routes, e.Rules, e.Tables, MaxEntries, LastTable-FirstTable+1)
}

// Plan returns what the given prefixes need on a host. Two kinds of prefixes need
// nothing. The kernel may send nothing from a prefix by its interface, because the
// interface's routes to everywhere are for others, such as another prefix's sources.
// And a rule may lead an address into a VPN. The size of a plan is the sum of the
// prefixes' addresses and the host's routes, and not their product. If it is too large,
// the error is a *TooLargeError.
func (t *Tables) Plan(ids []policy.PrefixID, nets *netmon.Snapshot) (Plan, error) {
	managed := map[policy.PrefixID]bool{}
	for _, id := range ids {
		managed[id] = true
	}
	b := builder{nets: nets, links: routesByLink(nets), networks: interfacesByPrefix(nets), chains: chainsOf(nets), routes: map[content][]Route{}, done: map[sender]bool{}}
	for _, p := range nets.Prefixes() {
		l := b.links[linkOf(&p)]
		if managed[policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}] && (p.HasDefault || p.Hidden || p.OwnLink && p.Led == 0) && l != nil && len(l.defaults) > 0 {
			b.prefix(&p, l)
		}
	}
	return b.plan(t)
}

// builder makes a plan.
type builder struct {
	nets     *netmon.Snapshot
	links    map[link]*linkRoutes
	networks map[netip.Prefix][]int // the interfaces that have a network
	chains   *chains
	routes   map[content][]Route
	order    []content
	rules    []tabledRule
	done     map[sender]bool
}

// sender is an address. If another interface has the same address, the interface is
// part of it.
type sender struct {
	addr   netip.Addr
	device string
}

// tabledRule is a rule with the content of the table that it leads to.
type tabledRule struct {
	Rule
	to content // the zero value: the rule has the table's number
}

// table adds a table, unless the plan has it already.
func (b *builder) table(c content, r []Route) content {
	if _, known := b.routes[c]; !known {
		b.routes[c] = r
		b.order = append(b.order, c)
	}
	return c
}

// prefix adds what a prefix needs.
func (b *builder) prefix(p *netmon.Prefix, l *linkRoutes) {
	v6 := p.Prefix.Addr().Is6()
	own := content{link: linkOf(p)}
	defaults := defaultsOf(p, l.defaults)
	if len(defaults) < len(l.defaults) {
		own.own = p.Prefix
	}
	pieces := b.nets.Pieces(v6)
	own.below = pieces.Index != 0 && pieces.Index != p.Index && len(pieces.Others) > 0 && pieces.Longest() > suppressed(v6)
	if own.below {
		defaults = below(defaults, pieces)
	}
	device := ""
	if p.Twin { // the address alone does not tell the interface
		device = p.Interface
	}
	for _, a := range p.Addrs {
		if b.done[sender{a, device}] { // an address may be in two prefixes of different length
			continue
		}
		b.done[sender{a, device}] = true
		at := b.chains.place(a, p.Index)
		if at.forbidden != nil || at.led {
			continue
		}
		own := b.table(own, defaults)
		add := func(table, suppress int, to content) {
			b.rules = append(b.rules, tabledRule{Rule{Priority: at.priority, Source: a, Device: device, Table: table, Suppress: suppress}, to})
		}
		if len(b.networks[p.Prefix]) > 1 {
			// Table main may lead to the neighbours of another interface.
			add(0, -1, b.table(content{link: linkOf(p), neighbours: true}, l.near))
		}
		again := -1
		for _, l := range at.lookups {
			add(l.table, l.suppress, content{})
			if own.below && l.table == pieces.Table {
				again = l.table
			}
		}
		add(0, -1, own)
		if again >= 0 { // looked at again, for what the own table leaves open
			add(again, suppressed(v6), content{})
		}
	}
}

// below makes a link's table for a host with a VPN that takes all traffic by many
// routes. The VPN's table may also lead elsewhere with prefixes no longer than a piece.
// Prefix lengths then do not tell the two kinds apart, so the link's table names both.
// For prefixes that lead elsewhere, the link's table makes the kernel continue with the
// next rule (throw). Pieces inside of that get routes to everywhere by the link. The
// longest match is then the same as in the VPN's table.
func below(defaults []Route, p *netmon.Pieces) []Route {
	all := slices.Clone(defaults)
	for _, o := range p.Others {
		all = append(all, Route{Route: oracle.Route{Kind: throw, Prefix: o.Prefix, From: o.From, TOS: o.TOS, Protocol: Protocol}})
	}
	for _, q := range p.Prefixes {
		if !slices.ContainsFunc(p.Others, func(o oracle.Slot) bool { return o.Prefix.Bits() <= q.Bits() && o.Prefix.Contains(q.Addr()) }) {
			continue
		}
		for _, d := range defaults {
			if d.Prefix.Bits() <= q.Bits() && d.Prefix.Contains(q.Addr()) {
				d.Prefix = q
				all = append(all, d)
			}
		}
	}
	return all
}

// throw is the kind of a route that makes the kernel continue with the next rule
// (RTN_THROW).
const throw = 9

// plan gives the tables their numbers.
func (b *builder) plan(t *Tables) (Plan, error) {
	numbers := t.of(b.order)
	var plan Plan
	for _, c := range b.order {
		for _, r := range b.routes[c] {
			r.Table = numbers[c]
			plan.Routes = append(plan.Routes, r)
		}
	}
	for _, r := range b.rules {
		if r.to != (content{}) {
			r.Table = numbers[r.to]
		}
		plan.Rules = append(plan.Rules, r.Rule)
	}
	slices.SortStableFunc(plan.Routes, compareRoutes)
	plan.Routes = onePerSlot(plan.Routes)
	slices.SortStableFunc(plan.Rules, compareRules)
	if len(numbers) < len(b.order) || len(plan.Routes)+len(plan.Rules) > MaxEntries {
		return Plan{}, &TooLargeError{len(plan.Routes), len(plan.Rules), len(b.order)}
	}
	return plan, nil
}

// Equal tells whether two plans say the same.
func (p Plan) Equal(o Plan) bool {
	return slices.Equal(p.Rules, o.Rules) && slices.EqualFunc(p.Routes, o.Routes, func(a, b Route) bool {
		return a.Apart == b.Apart && a.Equal(&b.Route)
	})
}

// onePerSlot keeps the first of several IPv4 routes in the same place, because only
// that one counts. IPv6 routes in the same place are marked to be kept apart. The list
// must be sorted.
func onePerSlot(list []Route) []Route {
	var out []Route
	for _, r := range list {
		last := len(out) - 1
		if last < 0 || out[last].Slot() != r.Slot() {
			out = append(out, r)
			continue
		}
		if r.Prefix.Addr().Is4() || out[last].Key() == r.Key() {
			continue
		}
		out[last].Apart, r.Apart = true, true
		out = append(out, r)
	}
	return out
}

// linkRoutes are the routes of a link. They have no table yet.
type linkRoutes struct {
	defaults []Route // to everywhere, including halves
	near     []Route // to neighbours
}

// routesByLink copies the routes of each link from table main. If main has no default
// route, it is copied from a table that a rule leads to.
func routesByLink(nets *netmon.Snapshot) map[link]*linkRoutes {
	ruled := map[int]bool{}
	for _, r := range nets.Rules() {
		ruled[r.Table] = true
	}
	links := map[link]*linkRoutes{}
	elsewhere := map[link][]Route{}
	list := nets.Routes()
	for i := range list {
		r := &list[i]
		if r.Table >= FirstTable && r.Table <= LastTable {
			continue
		}
		for _, index := range r.Devices() {
			dev, known := nets.Link(index)
			on, alive := r.On(index)
			if !known || !alive {
				continue
			}
			key := link{dev.Name, r.Prefix.Addr().Is6()}
			l := links[key]
			if l == nil {
				l = &linkRoutes{}
				links[key] = l
			}
			on.Protocol, on.Flags = Protocol, 0
			switch {
			case r.Table == netmon.TableMain && r.Wide():
				l.defaults = append(l.defaults, Route{Route: on})
			case r.Table == netmon.TableMain:
				l.near = append(l.near, Route{Route: on})
			case r.Wide() && ruled[r.Table]:
				elsewhere[key] = append(elsewhere[key], Route{Route: on})
			}
		}
	}
	for key, l := range links {
		if len(l.defaults) == 0 {
			l.defaults = elsewhere[key]
		}
		l.markOnLink()
	}
	return links
}

// markOnLink marks the gateways that no route of the link leads to.
func (l *linkRoutes) markOnLink() {
	var near []netip.Prefix
	for i := range l.near {
		near = append(near, l.near[i].Prefix)
	}
	for i := range l.defaults {
		if r := &l.defaults[i]; r.Near() {
			near = append(near, r.Prefix)
		}
	}
	for i := range l.defaults {
		for j := range l.defaults[i].Hops {
			h := &l.defaults[i].Hops[j] // safe to change: On has made a copy of the list
			if h.Gateway.IsValid() && !h.Gateway.IsLinkLocalUnicast() && !slices.ContainsFunc(near, func(p netip.Prefix) bool { return p.Contains(h.Gateway) }) {
				h.OnLink = true
			}
		}
	}
}

// defaultsOf returns the default routes of its link that a prefix should use. Those are
// the routes with a gateway in its own network, if there are any. It never uses another
// prefix's gateways: if two providers are on a link, each drops packets with the
// other's sources (RFC 8028).
func defaultsOf(p *netmon.Prefix, all []Route) []Route {
	leads := func(r Route, wanted func(gateway netip.Addr) bool) bool {
		return slices.ContainsFunc(r.Hops, func(s oracle.Step) bool { return wanted(s.Gateway) })
	}
	if !slices.ContainsFunc(all, func(r Route) bool { return leads(r, p.Prefix.Contains) }) {
		return all
	}
	others := func(g netip.Addr) bool { return g.IsGlobalUnicast() && !p.Prefix.Contains(g) }
	return slices.DeleteFunc(slices.Clone(all), func(r Route) bool { return leads(r, others) })
}

func linkOf(p *netmon.Prefix) link { return link{p.Interface, p.Prefix.Addr().Is6()} }

// interfacesByPrefix returns the interfaces that have a network. Two of them may have
// the same.
func interfacesByPrefix(nets *netmon.Snapshot) map[netip.Prefix][]int {
	out := map[netip.Prefix][]int{}
	for _, p := range nets.Prefixes() {
		if !slices.Contains(out[p.Prefix], p.Index) {
			out[p.Prefix] = append(out[p.Prefix], p.Index)
		}
	}
	return out
}

func compareRoutes(a, b Route) int {
	return cmp.Or(
		cmp.Compare(a.Table, b.Table),
		// Long prefixes come first: these are the link's own, by which gateways are
		// reached.
		cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), a.Prefix.Addr().Compare(b.Prefix.Addr()),
		a.From.Addr().Compare(b.From.Addr()), cmp.Compare(a.From.Bits(), b.From.Bits()),
		cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.TOS, b.TOS),
	)
}

// compareRules puts the rules of each address together, and keeps the order among them.
func compareRules(a, b Rule) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Source.Compare(b.Source), cmp.Compare(a.Device, b.Device))
}
