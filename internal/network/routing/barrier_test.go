package routing

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

// The rules before table main, and the routes to which they lead, decide whether a default
// route in table main would have an effect for a network.
func TestBarrierOf(t *testing.T) {
	const here, vpn, main, prohibit, jump = 2, 3, netmon.TableMain, 8, 2
	refusing := route(77, 0, "0.0.0.0/0", "", 5000)
	refusing.Kind, refusing.Hops = unix.RTN_BLACKHOLE, nil
	refusing6 := refusing
	refusing6.Prefix, refusing6.Table = netip.MustParsePrefix("::/0"), 78
	reserve := refusing
	reserve.Table = main
	into := netmon.Rule{Priority: 20000, Table: 77, Mark: 5, Mask: 0xff, Invert: true}
	for _, tt := range []struct {
		name   string
		rules  []netmon.Rule // before that for table main
		behind []netmon.Rule
		routes []oracle.Route
		want   string
	}{
		{"nothing", nil, nil, nil, ""},
		{"a VPN's rule alone", []netmon.Rule{into}, nil, nil, ""},
		{"a rule that refuses what the VPN does not take", []netmon.Rule{into, {Priority: 20001, Mark: 5, Mask: 0xff, Invert: true, Action: prohibit}}, nil, nil, "20001"},
		{"which refuses all but some destinations", []netmon.Rule{into, {Priority: 20001, Dst: netip.MustParsePrefix("10.0.0.0/8"), Invert: true, Action: prohibit}}, nil, nil, "20001"},
		{"which refuses some destinations", []netmon.Rule{into, {Priority: 20001, Dst: netip.MustParsePrefix("203.0.113.0/24"), Action: prohibit}}, nil, nil, ""},
		{"which refuses other sources", []netmon.Rule{into, {Priority: 20001, Source: netip.MustParsePrefix("10.7.0.0/16"), Action: prohibit}}, nil, nil, ""},
		{"behind table main without its defaults", []netmon.Rule{{Priority: 10, Table: main, Passes: 1}, {Priority: 20001, Action: prohibit}}, nil, nil, "20001"},
		{"behind table main", nil, []netmon.Rule{{Priority: 32767, Action: prohibit}}, nil, ""},
		{"which is jumped over", []netmon.Rule{{Priority: 10, Action: jump, Goto: 32766}, {Priority: 20001, Action: prohibit}}, nil, nil, ""},
		{"a route behind the VPN's", []netmon.Rule{into}, nil, []oracle.Route{refusing}, "20000, table 77"},
		{"a route to which no rule leads", nil, nil, []oracle.Route{refusing}, ""},
		{"a route behind a rule that passes over those that lead", []netmon.Rule{{Priority: 20000, Table: 77, Passes: 1}}, nil, []oracle.Route{refusing}, "20000, table 77"},
		{"a route of the other family", []netmon.Rule{{Priority: 20000, Table: 78}}, nil, []oracle.Route{refusing6}, ""},
		{"a reserve in table main", nil, nil, []oracle.Route{reserve}, ""},
		{"a reserve in table main, which is looked into twice", []netmon.Rule{{Priority: 10, Table: main, Passes: 1}}, nil, []oracle.Route{reserve}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := netip.MustParsePrefix("10.0.0.2/24")
			nets := netmon.NewSnapshot(netmon.State{
				Links:  []netmon.Link{{Index: here, Name: "a", Up: true, Running: true}, {Index: vpn, Name: "wg0", Type: "wireguard", Up: true, Running: true}},
				Addrs:  []netmon.Addr{{Index: here, Prefix: a, Scope: netmon.ScopeGlobal}},
				Routes: []oracle.Route{route(77, vpn, "0.0.0.0/0", "", 0)},
				Rules:  append(append(tt.rules, netmon.Rule{Priority: mainPriority, Table: main}), tt.behind...),
			})
			got := ""
			if b, ok := BarrierOf(nets.PrefixWith(a.Addr()), nets, tt.routes); ok {
				got = fmt.Sprint(b.Rule.Priority)
				if b.Table != 0 {
					got += fmt.Sprintf(", table %d", b.Table)
				}
			}
			if got != tt.want {
				t.Errorf("barrier %q, want %q", got, tt.want)
			}
		})
	}
}
