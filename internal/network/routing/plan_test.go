package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/policy"
)

func route(table, index int, prefix, gateway string, metric int) oracle.Route {
	hop := oracle.Step{Hop: oracle.Hop{Index: index}, Weight: 1}
	if gateway != "" {
		hop.Gateway = netip.MustParseAddr(gateway)
	}
	return oracle.Route{Table: table, Kind: unix.RTN_UNICAST, Prefix: netip.MustParsePrefix(prefix), Metric: metric, Hops: []oracle.Step{hop}}
}

// shown writes a plan roughly as ip(8) would.
func shown(p Plan) []string {
	var out []string
	for _, r := range p.Routes {
		line := strconv.Itoa(r.Table) + ": " + r.Prefix.String()
		onlink := false
		for _, h := range r.Hops {
			if len(r.Hops) > 1 {
				line += fmt.Sprintf(" nexthop weight %d", h.Weight)
			}
			if h.Gateway.IsValid() {
				line += " via " + h.Gateway.String()
			}
			line += " dev " + strconv.Itoa(h.Index)
			onlink = onlink || h.OnLink
		}
		if r.Object != 0 {
			line += " nhid " + strconv.Itoa(r.Object)
		}
		if r.From.IsValid() {
			line += " from " + r.From.String()
		}
		if r.Metric != 0 {
			line += " metric " + strconv.Itoa(r.Metric)
		}
		if r.Preference != 0 {
			line += " pref " + strconv.Itoa(int(r.Preference))
		}
		if r.Expires != 0 {
			line += " expires " + r.Expires.String()
		}
		if onlink {
			line += " onlink"
		}
		if r.Apart {
			line += " apart"
		}
		out = append(out, line)
	}
	for _, r := range p.Rules {
		line := strconv.Itoa(r.Priority) + ": from " + r.Source.String()
		if r.Device != "" {
			line += " oif " + r.Device
		}
		line += " lookup " + strconv.Itoa(r.Table)
		if r.Suppress >= 0 {
			line += " suppress_prefixlength " + strconv.Itoa(r.Suppress)
		}
		out = append(out, line)
	}
	return out
}

// farReaching makes a kernel that sends from each address by its own interface to the whole
// Internet. The kernel's own rules are there besides those of the state.
func farReaching(s netmon.State) netmon.State {
	for _, v6 := range []bool{false, true} {
		s.Rules = append(s.Rules, netmon.Rule{V6: v6, Priority: mainPriority, Table: netmon.TableMain})
	}
	s.Ways = map[netmon.Vantage]oracle.Way{}
	for _, a := range s.Addrs {
		way := oracle.Way{Verdict: oracle.Sent, Hop: oracle.Hop{Index: a.Index}}
		s.Ways[netmon.Vantage{Source: a.Prefix.Addr()}] = way
		s.Ways[netmon.Vantage{Source: a.Prefix.Addr(), Device: a.Index}] = way
	}
	return s
}

// idsOf returns the ids of all prefixes.
func idsOf(nets *netmon.Snapshot) (ids []policy.PrefixID) {
	for _, p := range nets.Prefixes() {
		ids = append(ids, policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix})
	}
	return ids
}

// Default routes for other sources do not belong to a prefix.
func TestPlanForOthers(t *testing.T) {
	state := farReaching(netmon.State{
		Links: []netmon.Link{{Index: 2, Name: "a", Up: true, Running: true}},
		Addrs: []netmon.Addr{
			{Index: 2, Prefix: netip.MustParsePrefix("2a00:a::23/64"), Scope: netmon.ScopeGlobal},
			{Index: 2, Prefix: netip.MustParsePrefix("2a00:b::9/64"), Scope: netmon.ScopeGlobal},
		},
		Routes: []oracle.Route{route(netmon.TableMain, 2, "::/0", "fe80::1", 512)},
	})
	for v := range state.Ways {
		if v.Source == netip.MustParseAddr("2a00:b::9") {
			delete(state.Ways, v)
		}
	}
	nets := netmon.NewSnapshot(state)
	var ids []policy.PrefixID
	for _, p := range nets.Prefixes() {
		ids = append(ids, policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix})
	}
	plan, err := new(Tables).Plan(ids, nets)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range plan.Rules {
		if r.Source != netip.MustParseAddr("2a00:a::23") {
			t.Errorf("rule %+v", r)
		}
	}
	if len(plan.Rules) == 0 {
		t.Error("nothing for the prefix whose routes they are")
	}
}

func TestPlan(t *testing.T) {
	const main = netmon.TableMain
	for _, tt := range []struct {
		name   string
		addrs  []string
		routes []oracle.Route
		rules  []netmon.Rule
		want   []string
	}{
		{
			"on the link, by a gateway, by another", []string{"10.0.0.2/24"},
			[]oracle.Route{
				route(main, 2, "10.0.0.0/24", "", 100), route(main, 2, "0.0.0.0/0", "10.0.0.1", 600), route(main, 2, "172.16.0.0/12", "10.0.0.9", 5),
				route(main, 3, "0.0.0.0/0", "10.9.0.1", 100), route(unix.RT_TABLE_LOCAL, 2, "10.0.0.2/32", "", 0),
			}, nil,
			[]string{
				"7700: 0.0.0.0/0 via 10.0.0.1 dev 2 metric 600",
				"32765: from 10.0.0.2 lookup 254 suppress_prefixlength 1", "32765: from 10.0.0.2 lookup 7700",
			},
		},
		{
			"a link without gateway, as LTE has it", []string{"10.0.0.2/30"},
			[]oracle.Route{route(main, 2, "10.0.0.0/30", "", 0), route(main, 2, "0.0.0.0/0", "", 700)}, nil,
			[]string{
				"7700: 0.0.0.0/0 dev 2 metric 700",
				"32765: from 10.0.0.2 lookup 254 suppress_prefixlength 1", "32765: from 10.0.0.2 lookup 7700",
			},
		},
		{
			"no default route: nothing is gained", []string{"10.0.0.2/24"},
			[]oracle.Route{route(main, 2, "10.0.0.0/24", "", 100)}, nil, nil,
		},
		{
			"a gateway beside the network", []string{"203.0.113.7/32"},
			[]oracle.Route{route(main, 2, "0.0.0.0/0", "172.31.1.1", 0)}, nil,
			[]string{
				"7700: 0.0.0.0/0 via 172.31.1.1 dev 2 onlink",
				"32765: from 203.0.113.7 lookup 254 suppress_prefixlength 1", "32765: from 203.0.113.7 lookup 7700",
			},
		},
		{
			"the default route is in a table that a rule names; our own does not count", []string{"10.0.0.2/24"},
			[]oracle.Route{
				route(main, 2, "10.0.0.0/24", "", 0), route(1001, 2, "0.0.0.0/0", "10.0.0.1", 0),
				route(1002, 2, "0.0.0.0/0", "10.0.0.3", 0), route(7700, 2, "0.0.0.0/0", "10.0.0.4", 0),
			},
			[]netmon.Rule{{Priority: 32000, Table: 1001}, {Priority: 32001, Table: 7700}},
			[]string{
				"7700: 0.0.0.0/0 via 10.0.0.1 dev 2",
				"31999: from 10.0.0.2 lookup 254 suppress_prefixlength 1", "31999: from 10.0.0.2 lookup 7700",
			},
		},
		{
			"IPv6 with two addresses", []string{"2001:db8:1::2/64", "2001:db8:1::3/64"},
			[]oracle.Route{route(main, 2, "2001:db8:1::/64", "", 256), route(main, 2, "::/0", "fe80::1", 1024)}, nil,
			[]string{
				"7700: ::/0 via fe80::1 dev 2 metric 1024",
				"32765: from 2001:db8:1::2 lookup 254 suppress_prefixlength 3", "32765: from 2001:db8:1::2 lookup 7700",
				"32765: from 2001:db8:1::3 lookup 254 suppress_prefixlength 3", "32765: from 2001:db8:1::3 lookup 7700",
			},
		},
		{
			"two providers on one link, each with its gateway", []string{"10.0.1.2/24", "10.0.2.2/24"},
			[]oracle.Route{
				route(main, 2, "10.0.1.0/24", "", 0), route(main, 2, "10.0.2.0/24", "", 0),
				route(main, 2, "0.0.0.0/0", "10.0.1.1", 100), route(main, 2, "0.0.0.0/0", "10.0.2.1", 200),
			}, nil,
			[]string{
				"7700: 0.0.0.0/0 via 10.0.1.1 dev 2 metric 100", "7701: 0.0.0.0/0 via 10.0.2.1 dev 2 metric 200",
				"32765: from 10.0.1.2 lookup 254 suppress_prefixlength 1", "32765: from 10.0.1.2 lookup 7700",
				"32765: from 10.0.2.2 lookup 254 suppress_prefixlength 1", "32765: from 10.0.2.2 lookup 7701",
			},
		},
		{
			"two networks behind one gateway share a table", []string{"10.0.1.2/24", "10.0.2.2/24"},
			[]oracle.Route{
				route(main, 2, "10.0.1.0/24", "", 0), route(main, 2, "10.0.2.0/24", "", 0), route(main, 2, "0.0.0.0/0", "10.9.9.1", 100),
			}, nil,
			[]string{
				"7700: 0.0.0.0/0 via 10.9.9.1 dev 2 metric 100 onlink",
				"32765: from 10.0.1.2 lookup 254 suppress_prefixlength 1", "32765: from 10.0.1.2 lookup 7700",
				"32765: from 10.0.2.2 lookup 254 suppress_prefixlength 1", "32765: from 10.0.2.2 lookup 7700",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := netmon.State{Links: []netmon.Link{{Index: 2, Name: "a", Up: true, Running: true}, {Index: 3, Name: "b"}}, Routes: tt.routes, Rules: tt.rules}
			for _, a := range tt.addrs {
				state.Addrs = append(state.Addrs, netmon.Addr{Index: 2, Prefix: netip.MustParsePrefix(a), Scope: netmon.ScopeGlobal})
			}
			nets := netmon.NewSnapshot(farReaching(state))
			var ids []policy.PrefixID
			for _, p := range nets.Prefixes() {
				ids = append(ids, policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix})
			}
			var tables Tables
			got, err := tables.Plan(ids, nets)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, shown(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A copy has everything that its route has.
func TestPlanCopies(t *testing.T) {
	const main = netmon.TableMain
	with := func(r oracle.Route, change func(*oracle.Route)) oracle.Route { change(&r); return r }
	many := func(prefix string, object int, hops ...oracle.Step) oracle.Route {
		return oracle.Route{Table: main, Kind: unix.RTN_UNICAST, Prefix: netip.MustParsePrefix(prefix), Hops: hops, Object: object}
	}
	hop := func(index int, gateway string, weight int) oracle.Step {
		return oracle.Step{Hop: oracle.Hop{Index: index, Gateway: netip.MustParseAddr(gateway)}, Weight: weight}
	}
	for _, tt := range []struct {
		name   string
		routes []oracle.Route
		want   []string
	}{
		{
			"weights of next hops on one link", []oracle.Route{many("0.0.0.0/0", 0, hop(2, "10.0.0.1", 3), hop(2, "10.0.0.9", 1))},
			[]string{"7700: 0.0.0.0/0 nexthop weight 3 via 10.0.0.1 dev 2 nexthop weight 1 via 10.0.0.9 dev 2"},
		},
		{
			"of several links, those of this one", []oracle.Route{many("0.0.0.0/0", 0, hop(3, "10.9.0.1", 5), hop(2, "10.0.0.1", 3), hop(2, "10.0.0.9", 1))},
			[]string{"7700: 0.0.0.0/0 nexthop weight 3 via 10.0.0.1 dev 2 nexthop weight 1 via 10.0.0.9 dev 2"},
		},
		{
			"a next-hop object by its number", []oracle.Route{many("0.0.0.0/0", 10, hop(2, "10.0.0.1", 1))},
			[]string{"7700: 0.0.0.0/0 via 10.0.0.1 dev 2 nhid 10"},
		},
		{
			"a group of which a part is here", []oracle.Route{many("0.0.0.0/0", 12, hop(2, "10.0.0.1", 1), hop(3, "10.9.0.1", 1))},
			[]string{"7700: 0.0.0.0/0 via 10.0.0.1 dev 2"},
		},
		{
			"a next hop that is dead is left out", []oracle.Route{many("0.0.0.0/0", 0, oracle.Step{Hop: oracle.Hop{Index: 2, Gateway: netip.MustParseAddr("10.0.0.7")}, Weight: 1, Dead: true}, hop(2, "10.0.0.1", 1))},
			[]string{"7700: 0.0.0.0/0 via 10.0.0.1 dev 2"},
		},
		{
			"routers with their preferences and ends",
			[]oracle.Route{
				with(route(main, 2, "::/0", "fe80::a", 1024), func(r *oracle.Route) { r.Preference, r.Expires = 3, 1800*time.Second }),
				with(route(main, 2, "::/0", "fe80::1", 1024), func(r *oracle.Route) { r.Preference = 1 }),
			},
			[]string{"7700: ::/0 via fe80::a dev 2 metric 1024 pref 3 expires 30m0s apart", "7700: ::/0 via fe80::1 dev 2 metric 1024 pref 1 apart"},
		},
		{
			"for certain sources", []oracle.Route{with(route(main, 2, "::/0", "fe80::1", 512), func(r *oracle.Route) { r.From = netip.MustParsePrefix("2a00:a::/56") })},
			[]string{"7700: ::/0 via fe80::1 dev 2 from 2a00:a::/56 metric 512"},
		},
		{
			"of two IPv4 routes in one place the first", []oracle.Route{route(main, 2, "0.0.0.0/0", "10.0.0.9", 100), route(main, 2, "0.0.0.0/0", "10.0.0.1", 100)},
			[]string{"7700: 0.0.0.0/0 via 10.0.0.9 dev 2 metric 100"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := "10.0.0.2/24"
			if tt.routes[0].Prefix.Addr().Is6() {
				addr = "2a00:a::23/64"
			}
			nets := netmon.NewSnapshot(farReaching(netmon.State{
				Links:  []netmon.Link{{Index: 2, Name: "a", Up: true, Running: true}, {Index: 3, Name: "b", Up: true, Running: true}},
				Addrs:  []netmon.Addr{{Index: 2, Prefix: netip.MustParsePrefix(addr), Scope: netmon.ScopeGlobal}},
				Routes: append(tt.routes, route(main, 2, netip.MustParsePrefix(addr).Masked().String(), "", 0)),
			}))
			plan, err := new(Tables).Plan([]policy.PrefixID{{Interface: "a", Prefix: nets.Prefixes()[0].Prefix}}, nets)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, shown(Plan{Routes: plan.Routes})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// If two interfaces have the same address, rules tell them apart by device.
func TestPlanSameAddress(t *testing.T) {
	nets := netmon.NewSnapshot(farReaching(netmon.State{
		Links: []netmon.Link{{Index: 2, Name: "usb1", Up: true, Running: true}, {Index: 3, Name: "usb2", Up: true, Running: true}},
		Addrs: []netmon.Addr{
			{Index: 2, Prefix: netip.MustParsePrefix("192.168.8.100/24"), Scope: netmon.ScopeGlobal},
			{Index: 3, Prefix: netip.MustParsePrefix("192.168.8.100/24"), Scope: netmon.ScopeGlobal},
		},
		Routes: []oracle.Route{
			route(netmon.TableMain, 2, "192.168.8.0/24", "", 100), route(netmon.TableMain, 2, "0.0.0.0/0", "192.168.8.1", 100),
			route(netmon.TableMain, 3, "192.168.8.0/24", "", 101), route(netmon.TableMain, 3, "0.0.0.0/0", "192.168.8.1", 101),
		},
	}))
	// farReaching knows only one way for the address. By device there are two.
	plan, err := new(Tables).Plan([]policy.PrefixID{{Interface: "usb1", Prefix: nets.Prefixes()[0].Prefix}, {Interface: "usb2", Prefix: nets.Prefixes()[0].Prefix}}, nets)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"32765: from 192.168.8.100 oif usb1 lookup 7701", "32765: from 192.168.8.100 oif usb1 lookup 254 suppress_prefixlength 1",
		"32765: from 192.168.8.100 oif usb1 lookup 7700", "32765: from 192.168.8.100 oif usb2 lookup 7703",
		"32765: from 192.168.8.100 oif usb2 lookup 254 suppress_prefixlength 1", "32765: from 192.168.8.100 oif usb2 lookup 7702",
	}
	if diff := cmp.Diff(want, shown(Plan{Rules: plan.Rules})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// If two interfaces are in the same network, neighbours are looked for in a table of the
// link's own, because table main has the other interface's.
func TestPlanTwins(t *testing.T) {
	nets := netmon.NewSnapshot(farReaching(netmon.State{
		Links: []netmon.Link{{Index: 2, Name: "a", Up: true, Running: true}, {Index: 3, Name: "b", Up: true, Running: true}},
		Addrs: []netmon.Addr{
			{Index: 2, Prefix: netip.MustParsePrefix("10.0.0.2/24"), Scope: netmon.ScopeGlobal},
			{Index: 3, Prefix: netip.MustParsePrefix("10.0.0.3/24"), Scope: netmon.ScopeGlobal},
		},
		Routes: []oracle.Route{
			route(netmon.TableMain, 2, "10.0.0.0/24", "", 100), route(netmon.TableMain, 2, "0.0.0.0/0", "10.0.0.1", 100),
			route(netmon.TableMain, 3, "10.0.0.0/24", "", 600), route(netmon.TableMain, 3, "0.0.0.0/0", "10.0.0.1", 600),
		},
	}))
	var tables Tables
	got, err := tables.Plan([]policy.PrefixID{{Interface: "a", Prefix: nets.Prefixes()[0].Prefix}, {Interface: "b", Prefix: nets.Prefixes()[0].Prefix}}, nets)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"7700: 0.0.0.0/0 via 10.0.0.1 dev 2 metric 100", "7701: 10.0.0.0/24 dev 2 metric 100",
		"7702: 0.0.0.0/0 via 10.0.0.1 dev 3 metric 600", "7703: 10.0.0.0/24 dev 3 metric 600",
		"32765: from 10.0.0.2 lookup 7701", "32765: from 10.0.0.2 lookup 254 suppress_prefixlength 1",
		"32765: from 10.0.0.2 lookup 7700", "32765: from 10.0.0.3 lookup 7703",
		"32765: from 10.0.0.3 lookup 254 suppress_prefixlength 1", "32765: from 10.0.0.3 lookup 7702",
	}
	if diff := cmp.Diff(want, shown(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// host makes a host of links with a number of networks each, and with routes of all kinds:
// to the link, by the gateway, to the whole Internet.
func host(links, networks, routes int) (*netmon.Snapshot, []policy.PrefixID) {
	var s netmon.State
	var ids []policy.PrefixID
	for l := range links {
		index := l + 2
		s.Links = append(s.Links, netmon.Link{Index: index, Name: "l" + strconv.Itoa(l), Up: true, Running: true})
		for n := range networks {
			addr := netip.AddrFrom4([4]byte{10, byte(l), byte(n), 2})
			p := netip.PrefixFrom(addr, 24)
			s.Addrs = append(s.Addrs, netmon.Addr{Index: index, Prefix: p, Scope: netmon.ScopeGlobal})
			s.Routes = append(s.Routes, route(netmon.TableMain, index, p.Masked().String(), "", 0))
			ids = append(ids, policy.PrefixID{Interface: s.Links[l].Name, Prefix: p.Masked()})
		}
		gateway := netip.AddrFrom4([4]byte{10, byte(l), 0, 1})
		s.Routes = append(s.Routes, route(netmon.TableMain, index, "0.0.0.0/0", gateway.String(), index))
		for r := range routes {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{20 + byte(l), byte(r >> 8), byte(r), 0}), 24)
			s.Routes = append(s.Routes, route(netmon.TableMain, index, p.String(), gateway.String(), 0))
		}
	}
	return netmon.NewSnapshot(farReaching(s)), ids
}

// A plan grows with the number of networks and with that of routes, not with their product.
// Of the routes, only default routes are in it.
func TestPlanSize(t *testing.T) {
	for _, tt := range []struct{ links, networks, routes, wantRoutes, wantRules int }{
		{1, 1, 0, 1, 2},
		{1, 100, 0, 1, 200},
		{1, 100, 2000, 1, 200},
		{3, 100, 2000, 3, 600},
		{200, 1, 50, 200, 400},
	} {
		nets, ids := host(tt.links, tt.networks, tt.routes)
		var tables Tables
		p, err := tables.Plan(ids, nets)
		if err != nil || len(p.Routes) != tt.wantRoutes || len(p.Rules) != tt.wantRules {
			t.Errorf("%+v: %d routes, %d rules, %v", tt, len(p.Routes), len(p.Rules), err)
		}
	}
}

// A plan that would be too large is an error that says so. It is not shortened.
func TestPlanTooLarge(t *testing.T) {
	for _, tt := range []struct {
		name            string
		links, networks int
		want            string
	}{
		{"rules", 34, 256, "34 routes and 17408 rules in 34 tables would be needed"},
		{"just not", 31, 256, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nets, ids := host(tt.links, tt.networks, 0)
			var tables Tables
			p, err := tables.Plan(ids, nets)
			if tt.want == "" {
				if err != nil || len(p.Rules) != 2*tt.links*tt.networks {
					t.Errorf("%d rules, %v", len(p.Rules), err)
				}
				return
			}
			var e *TooLargeError
			if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), tt.want) || len(p.Rules)+len(p.Routes) > 0 {
				t.Errorf("%v, with %d rules", err, len(p.Rules))
			}
		})
	}
}

// Tables keep their numbers while others come and go. There is a limited number of them.
func TestTables(t *testing.T) {
	id := func(i int) content { return content{link: link{name: strconv.Itoa(i)}} }
	var tables Tables
	tables.of([]content{id(1), id(2), id(3)})
	got := tables.of([]content{id(4), id(3)})
	if got[id(3)] != FirstTable+2 || got[id(4)] != FirstTable {
		t.Errorf("tables %v", got)
	}
	var many []content
	for i := range 2 * (LastTable - FirstTable) {
		many = append(many, id(i))
	}
	seen := map[int]bool{}
	for _, n := range tables.of(many) {
		if n < FirstTable || n > LastTable || seen[n] {
			t.Fatalf("table %d", n)
		}
		seen[n] = true
	}
	if len(seen) != LastTable-FirstTable+1 {
		t.Errorf("%d tables", len(seen))
	}
}
