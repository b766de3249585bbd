package routing

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/policy"
)

func TestPreceding(t *testing.T) {
	const own, foreign = FirstTable, 100
	source := netip.MustParsePrefix("10.0.0.2/32")
	ours := netmon.Rule{Priority: FirstPriority, Source: source, Table: own, Maker: Protocol}
	const here, other = 2, 3
	said := func(rule string) []string { return []string{"10.0.0.0/24 on net0 leaves by net1: " + rule} }
	for _, tt := range []struct {
		name   string
		egress int
		rules  []netmon.Rule
		want   []string
	}{
		{"ours alone", here, []netmon.Rule{ours}, nil},
		{"another before them", other, []netmon.Rule{{Priority: 5, Table: foreign}, ours}, said("rule 5, from all lookup 100")},
		{"by source", other, []netmon.Rule{{Priority: 5, Source: netip.MustParsePrefix("10.0.0.0/8"), Table: foreign}, ours}, said("rule 5, from 10.0.0.0/8 lookup 100")},
		{"which holds no route to there", other, []netmon.Rule{{Priority: 4, Table: 99}, {Priority: 5, Table: foreign}, ours}, said("rule 5, from all lookup 100")},
		{"for others", other, []netmon.Rule{{Priority: 5, Source: netip.MustParsePrefix("10.7.0.0/16"), Table: foreign}, ours}, nil},
		{"for marked packets", other, []netmon.Rule{{Priority: 5, Mark: 1, Mask: 1, Table: foreign}, ours}, nil},
		{"for all but marked packets", other, []netmon.Rule{{Priority: 5, Mark: 1, Mask: 0xff, Invert: true, Table: foreign}, ours}, said("rule 5, not from all fwmark 0x1/0xff lookup 100")},
		{"for all but some destinations", other, []netmon.Rule{{Priority: 5, Dst: netip.MustParsePrefix("192.168.0.0/16"), Invert: true, Table: foreign}, ours}, said("rule 5, not from all to 192.168.0.0/16 lookup 100")},
		{"for some destinations", other, []netmon.Rule{{Priority: 5, Dst: netip.MustParsePrefix("192.168.0.0/16"), Table: foreign}, ours}, nil},
		{"for one user", other, []netmon.Rule{{Priority: 5, Users: true, FirstUser: 1000, LastUser: 1000, Table: foreign}, ours}, nil},
		{"for all users", other, []netmon.Rule{{Priority: 5, Users: true, LastUser: 4294967294, Table: foreign}, ours}, said("rule 5, from all uidrange 0-4294967294 lookup 100")},
		{"of the other family", other, []netmon.Rule{{Priority: 5, V6: true, Table: foreign}, ours}, nil},
		{"before them for a moment", other, []netmon.Rule{{Priority: 8000, Table: foreign}, {Priority: 9000, Source: source, Table: own, Maker: Protocol}}, nil},
		{"behind them", other, []netmon.Rule{ours, {Priority: 8000, Table: foreign}}, nil},
		{"before ours are there", other, []netmon.Rule{{Priority: 5, Table: foreign}}, nil},
		{"where the kernel says nothing", 0, []netmon.Rule{{Priority: 5, Table: foreign}, ours}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			way := oracle.Way{Verdict: oracle.Sent, Hop: oracle.Hop{Index: tt.egress}}
			if tt.egress == 0 {
				way = oracle.Way{}
			}
			a := netip.MustParsePrefix("10.0.0.2/24")
			nets := netmon.NewSnapshot(netmon.State{
				Links: []netmon.Link{{Index: here, Name: "net0", Up: true, Running: true}, {Index: other, Name: "net1", Up: true, Running: true}},
				Addrs: []netmon.Addr{{Index: here, Prefix: a, Scope: netmon.ScopeGlobal}},
				Routes: []oracle.Route{
					route(netmon.TableMain, here, "10.0.0.0/24", "", 0), route(own, here, "0.0.0.0/0", "10.0.0.1", 0), route(foreign, other, "0.0.0.0/0", "10.9.0.1", 0),
					route(99, other, "10.50.0.0/16", "10.9.0.1", 0), route(unix.RT_TABLE_DEFAULT, here, "0.0.0.0/0", "10.0.0.1", 9),
				},
				Rules: tt.rules,
				Ways:  map[netmon.Vantage]oracle.Way{{Source: a.Addr()}: way, {Source: a.Addr(), Device: here}: {Verdict: oracle.Sent, Hop: oracle.Hop{Index: here}}},
			})
			var got []string
			for _, p := range Preceding([]policy.PrefixID{{Interface: "net0", Prefix: a.Masked()}, {Interface: "gone", Prefix: a.Masked()}}, nets) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
