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

// The marks of our rules and routes. No registered user (rt_protos of iproute2)
// has the number, and distributions use none of the tables.
const (
	// Protocol is the originator of rules (FRA_PROTOCOL, Linux 4.17) and routes.
	Protocol = 77
	// FirstTable and LastTable bound the routing tables.
	FirstTable, LastTable = 7700, 8699
	// FirstPriority is the lowest priority of our rules. They come directly before the
	// rule that would lead packets elsewhere, which is mostly that of table main, and
	// where its priority is lower, behind it.
	FirstPriority = 7699
)

// Route is a route in a table of ours, made of the same as the one that it is a copy of.
type Route struct {
	oracle.Route
	// Apart has IPv6 keep it apart from others of the same destinations and metric,
	// as it does with what routers announce: the kernel then takes the one whose router
	// answers and is preferred (RFC 4191), and would else spread connections over all.
	Apart bool
}

// Rule leads packets from an address to a table.
type Rule struct {
	Priority int
	Source   netip.Addr
	// Device has the rule hold for sockets only that are bound to the interface; "": for all.
	Device string
	Table  int
	// Suppress is up to which prefix length what the table says does not count;
	// negative: all counts.
	Suppress int
}

// Plan is what should be there. Both lists are in the order to add them
// and have no doubles. Of the rules of one address the kernel goes through the first ones
// first, as all have the same priority.
type Plan struct {
	Routes []Route
	Rules  []Rule
}

// Tables numbers the routing tables, and keeps the numbers as long as they are
// needed. The zero value is ready.
type Tables struct {
	byContent map[content]int
}

// content says what is in a table.
type content struct {
	link link
	// neighbours tells that it has the link's routes to neighbours.
	neighbours bool
	// own has the prefix whose routes to everywhere are in it, if those are not
	// all that the link has.
	own netip.Prefix
	// below tells that a VPN takes everything in pieces, see there.
	below bool
}

// link is an interface in one family.
type link struct {
	name string
	ipv6 bool
}

// of gives the tables' numbers; 0 where there are more than numbers.
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

// MaxEntries bounds a plan: it holds for hosts with thousands of addresses, and
// the kernel, which looks through a list for each rule, changes as many in a
// second.
const MaxEntries = 16384

// TooLargeError tells of a plan that is not carried out.
type TooLargeError struct {
	Routes, Rules int
	Tables        int // how many are needed
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%d routes and %d rules in %d tables would be needed, and the limits are %d routes and rules together, and %d tables: configure fewer networks",
		e.Routes, e.Rules, e.Tables, MaxEntries, LastTable-FirstTable+1)
}

// Plan tells what the given prefixes need on a host. Those from which the kernel would send
// nothing by their interface need nothing: the routes to everywhere that it has are for
// others, such as the sources of another prefix. Addresses that a rule leads into
// a VPN need nothing either. The size of
// a plan is that of the prefixes' addresses and the host's routes added, not
// multiplied. Of one that is too large it is a *TooLargeError.
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

// sender is an address, and the interface if that tells it from another one's.
type sender struct {
	addr   netip.Addr
	device string
}

// tabledRule is a rule that leads to a table of ours, or of somebody else.
type tabledRule struct {
	Rule
	to content // the zero value: Rule.Table
}

// table adds a table, unless it is there.
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
	if p.Twin { // the address alone does not tell where it belongs
		device = p.Interface
	}
	for _, a := range p.Addrs {
		if b.done[sender{a, device}] { // it may be there twice, with prefixes of two lengths
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
			// Table main may lead to the neighbours of the wrong one.
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
		if again >= 0 { // for what the own table does not answer
			add(again, suppressed(v6), content{})
		}
	}
}

// below makes the table of a link below a VPN that takes everything in pieces, where the
// table with the pieces leads elsewhere too, of prefixes no longer than a piece. The length
// of a prefix does not tell the ones from the others, so the table says which they are: what leads
// elsewhere has the kernel go on with the next rule (throw), and pieces in that lead
// to everywhere by the link. Which route is the longest that matches is the same so as in the
// other table.
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

// throw is the kind of a route that has the kernel go on with the next rule (RTN_THROW).
const throw = 9

// plan numbers the tables.
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

// onePerSlot leaves of IPv4 routes the first of those in the same place, which is the one that counts,
// and has such of IPv6 kept apart. The list is sorted.
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

// linkRoutes are the routes of a link, without tables.
type linkRoutes struct {
	defaults []Route // to everywhere, and halves of it
	near     []Route // to neighbours
}

// routesByLink copies the routes of each link from table main; the default
// route, if main has none, from where a rule leads.
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
			h := &l.defaults[i].Hops[j] // On has made a list of its own
			if h.Gateway.IsValid() && !h.Gateway.IsLinkLocalUnicast() && !slices.ContainsFunc(near, func(p netip.Prefix) bool { return p.Contains(h.Gateway) }) {
				h.OnLink = true
			}
		}
	}
}

// defaultsOf are those of its link's default routes that a prefix is to use:
// gateways in its own network, if there are any, and not those of others, since
// with two providers on a link each drops the other's sources (RFC 8028).
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

// interfacesByPrefix tells which interfaces have a network: two of them may have
// the very same.
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
		// Long prefixes first: those of the link, by which gateways are reached.
		cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()), a.Prefix.Addr().Compare(b.Prefix.Addr()),
		a.From.Addr().Compare(b.From.Addr()), cmp.Compare(a.From.Bits(), b.From.Bits()),
		cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.TOS, b.TOS),
	)
}

// compareRules puts the rules of each address together; among those their order counts.
func compareRules(a, b Rule) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Source.Compare(b.Source), cmp.Compare(a.Device, b.Device))
}
