package routing

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

// Our rules come where everything still holds that others have placed before the rule for
// the whole Internet. Behind our rules, what others say about certain destinations holds,
// too.
func TestPlace(t *testing.T) {
	const (
		here, vpn = 2, 3
		prohibit  = 8
		main      = netmon.TableMain
	)
	all := netip.MustParsePrefix
	defaults := map[string]oracle.Route{
		"main": route(main, here, "0.0.0.0/0", "10.0.0.1", 100), "mainOther": route(main, vpn, "0.0.0.0/0", "10.9.0.1", 50),
		"vpn": route(77, vpn, "0.0.0.0/0", "", 0), "own": route(100, here, "0.0.0.0/0", "10.0.0.1", 0),
	}
	for _, tt := range []struct {
		name   string
		routes string // of those above
		// specific are tables with other routes.
		specific []int
		rules    []netmon.Rule // besides those of the kernel
		want     string
	}{
		{"nothing but the kernel's", "main", nil, nil, "32765: 254/1"},
		{"a rule that refuses comes before", "main", nil, []netmon.Rule{{Priority: 20000, Source: all("10.0.0.0/24"), Action: prohibit}}, "32765: 254/1"},
		{"directly before main", "main", nil, []netmon.Rule{{Priority: 32765, Action: prohibit, Users: true, FirstUser: 5, LastUser: 5}}, "32765: 254/1"},
		{"a split tunnel's table before", "main", []int{52}, []netmon.Rule{{Priority: 20000, Table: 52}}, "32765: 254/1"},
		{"a VPN's default", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77}}, "19999: 254/1"},
		{"a VPN's default and routes", "main vpn", []int{77}, []netmon.Rule{{Priority: 20000, Table: 77}}, "19999: 77/1 254/1"},
		{"as wg-quick has it", "main vpn", nil, []netmon.Rule{
			{Priority: 32764, Table: main, Passes: 1}, {Priority: 32765, Table: 77, Mark: 0xca6c, Mask: 0xffffffff, Invert: true},
		}, "32764: 254/1"},
		{"for marked packets only", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Mark: 5, Mask: 0xff}}, "32765: 254/1"},
		{"for unmarked packets", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Mask: 0x10000}}, "19999: 254/1"},
		{"for all users", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Users: true, LastUser: 4294967294}}, "19999: 254/1"},
		{"for one user", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Users: true, FirstUser: 7, LastUser: 7}}, "32765: 254/1"},
		{"for what comes in", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, In: "eth7"}}, "32765: 254/1"},
		{"for what this host sends", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, In: "lo"}}, "19999: 254/1"},
		{"for other sources", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Source: all("10.7.0.0/16")}}, "32765: 254/1"},
		{"for all but other sources", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Source: all("10.7.0.0/16"), Invert: true}}, "19999: 254/1"},
		{"for all but some destinations", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Dst: all("192.168.0.0/16"), Invert: true}}, "19999: 254/1"},
		{"for half of all destinations", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Dst: all("128.0.0.0/1"), Invert: true}}, "32765: 254/1"},
		{"which passes over defaults", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Passes: 1}}, "32765: 254/1"},
		{"before all places for ours", "main vpn", nil, []netmon.Rule{{Priority: 100, Table: 77}}, "7699: 254/1"},
		{"an own table behind main", "mainOther own", []int{100}, []netmon.Rule{{Priority: 33000, Table: 100}}, "32765: 254/1 100/1"},
		{"an own table before main", "mainOther own", []int{100}, []netmon.Rule{{Priority: 20000, Source: all("10.0.0.2/32"), Table: 100}}, "19999: 100/1 254/1"},
		{"a jump over a VPN", "main vpn", nil, []netmon.Rule{{Priority: 20000, Action: 2, Goto: 32766}, {Priority: 20001, Table: 77}}, "32765: 254/1"},
		{"nothing is to go out beside the VPN", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77}, {Priority: 20001, Action: prohibit}}, "forbidden by 20001"},
		{"some things are not", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77}, {Priority: 20001, Action: prohibit, Dst: all("203.0.113.0/24")}}, "19999: 254/1 passes over 20001"},
		{"some things are not, by a rule before ours", "main vpn", nil, []netmon.Rule{{Priority: 100, Table: 77}, {Priority: 101, Action: prohibit, Dst: all("203.0.113.0/24")}}, "7699: 254/1"},
		{"what is behind the own way never held", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77}, {Priority: 32767, Action: prohibit}}, "19999: 254/1"},
		{"ours do not count", "main vpn", nil, []netmon.Rule{{Priority: 20000, Table: 77, Maker: Protocol, Source: all("10.0.0.2/32")}}, "32765: 254/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := netmon.State{Links: []netmon.Link{{Index: here, Name: "a", Up: true, Running: true}}, Specific: map[netmon.TableOf]bool{}}
			for _, s := range tt.specific {
				state.Specific[netmon.TableOf{Table: s}] = true
			}
			for name := range strings.FieldsSeq(tt.routes) {
				state.Routes = append(state.Routes, defaults[name])
			}
			added := false
			for _, r := range tt.rules {
				if r.Priority > mainPriority && !added {
					state.Rules, added = append(state.Rules, netmon.Rule{Priority: mainPriority, Table: main}), true
				}
				state.Rules = append(state.Rules, r)
			}
			if !added {
				state.Rules = append(state.Rules, netmon.Rule{Priority: mainPriority, Table: main})
			}
			got := chainsOf(netmon.NewSnapshot(state)).place(netip.MustParseAddr("10.0.0.2"), here)
			said := fmt.Sprintf("%d:", got.priority)
			for _, l := range got.lookups {
				said += fmt.Sprintf(" %d/%d", l.table, l.suppress)
			}
			for _, r := range got.undone {
				said += fmt.Sprintf(" passes over %d", r.Priority)
			}
			if got.forbidden != nil {
				said = fmt.Sprintf("forbidden by %d", got.forbidden.Priority)
			}
			if said != tt.want {
				t.Errorf("%s, want %s", said, tt.want)
			}
		})
	}
}

// An address that a rule leads into a VPN gets no rules of ours, even if ours were there
// before that rule.
func TestPlaceOfLedSource(t *testing.T) {
	const main, here, vpn = netmon.TableMain, 2, 3
	own := netmon.Rule{Priority: 32765, Maker: Protocol, Source: netip.MustParsePrefix("10.0.0.2/32"), Table: FirstTable}
	for _, tt := range []struct {
		name    string
		source  string // of the rule
		kind    string // of the interface that it leads to
		unbound int    // the interface by which other traffic leaves
		want    bool
	}{
		{"into a VPN", "10.0.0.2/32", "wireguard", here, true},
		{"with its network", "10.0.0.0/24", "wireguard", here, true},
		{"another source", "10.0.0.3/32", "wireguard", here, false},
		{"to another uplink", "10.0.0.2/32", "device", here, false},
		{"as everything else", "10.0.0.2/32", "wireguard", vpn, false},
	} {
		state := netmon.State{
			Links: []netmon.Link{{Index: here, Name: "a", Up: true, Running: true}, {Index: vpn, Name: "b", Type: tt.kind, Up: true, Running: true}},
			Routes: []oracle.Route{
				route(main, here, "0.0.0.0/0", "10.0.0.1", 100), route(77, vpn, "0.0.0.0/0", "", 0),
				route(FirstTable, here, "0.0.0.0/0", "10.0.0.1", 0),
			},
			Rules: []netmon.Rule{own, {Priority: 32765, Source: netip.MustParsePrefix(tt.source), Table: 77}, {Priority: mainPriority, Table: main}},
			Ways: map[netmon.Vantage]oracle.Way{
				{Source: netip.IPv4Unspecified()}: {Verdict: oracle.Sent, Hop: oracle.Hop{Index: tt.unbound}, Table: main},
			},
		}
		if got := chainsOf(netmon.NewSnapshot(state)).place(netip.MustParseAddr("10.0.0.2"), here).led; got != tt.want {
			t.Errorf("%s: led into a VPN: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A VPN may take everything in pieces. Then routes longer than a piece are looked for
// first, and for the rest the kernel goes on with the next rule.
func TestPlanBelowPieces(t *testing.T) {
	const main, vpn = netmon.TableMain, 3
	state := netmon.State{
		Links: []netmon.Link{{Index: 2, Name: "a", Up: true, Running: true}, {Index: vpn, Name: "wg0", Type: "wireguard", Up: true, Running: true}},
		Addrs: []netmon.Addr{{Index: 2, Prefix: netip.MustParsePrefix("10.0.0.2/24"), Scope: netmon.ScopeGlobal}},
		Routes: []oracle.Route{
			route(main, 2, "10.0.0.0/24", "", 0), route(main, 2, "0.0.0.0/0", "10.0.0.1", 600),
		},
		Pieces: [2]netmon.Pieces{{
			Table: main, Index: vpn,
			Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/5"), netip.MustParsePrefix("172.0.0.0/12"), netip.MustParsePrefix("198.51.0.0/16")},
		}},
	}
	plan := func() Plan {
		t.Helper()
		nets := netmon.NewSnapshot(farReaching(state))
		p, err := new(Tables).Plan(idsOf(nets), nets)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	check := func(what string, want ...string) {
		t.Helper()
		got := shown(plan())
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	check("nothing else that is as short",
		"7700: 0.0.0.0/0 via 10.0.0.1 dev 2 metric 600",
		"32765: from 10.0.0.2 lookup 254 suppress_prefixlength 16", "32765: from 10.0.0.2 lookup 7700")
	state.Rules = nil
	state.Pieces[0].Others = []oracle.Slot{{Prefix: netip.MustParsePrefix("198.0.0.0/8")}, {Prefix: netip.MustParsePrefix("172.16.0.0/12")}}
	check("routes as short as the pieces",
		"7700: 198.51.0.0/16 via 10.0.0.1 dev 2 metric 600", "7700: 172.16.0.0/12", "7700: 198.0.0.0/8", "7700: 0.0.0.0/0 via 10.0.0.1 dev 2 metric 600",
		"32765: from 10.0.0.2 lookup 254 suppress_prefixlength 16", "32765: from 10.0.0.2 lookup 7700", "32765: from 10.0.0.2 lookup 254 suppress_prefixlength 1")
	for _, r := range plan().Routes {
		if (len(r.Hops) == 0) != (r.Kind == unix.RTN_THROW) {
			t.Errorf("%v is of kind %d", r.Prefix, r.Kind)
		}
	}
}
