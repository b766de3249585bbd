package selection

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
)

func TestSelect(t *testing.T) {
	state := netmon.State{
		Links: []netmon.Link{{Index: 1, Name: "lo", Up: true, Running: true, Loopback: true}, {Index: 2, Name: "wlan0", Up: true, Running: true}, {Index: 3, Name: "docker0", Up: true, Running: true}},
		Addrs: []netmon.Addr{
			{Index: 1, Prefix: netip.MustParsePrefix("127.0.0.1/8"), Scope: netmon.ScopeHost},
			{Index: 2, Prefix: netip.MustParsePrefix("192.168.0.23/24"), Scope: netmon.ScopeGlobal},
			{Index: 3, Prefix: netip.MustParsePrefix("172.17.0.1/16"), Scope: netmon.ScopeGlobal},
			{Index: 2, Prefix: netip.MustParsePrefix("fe80::23/64"), Scope: netmon.ScopeLink},
		},
		Ways: map[netmon.Vantage]oracle.Way{
			{Source: netip.MustParseAddr("192.168.0.23")}: {Verdict: oracle.Sent, Hop: oracle.Hop{Index: 2, Gateway: netip.MustParseAddr("192.168.0.1")}},
		},
	}
	for _, tt := range []struct {
		name, conf      string
		want, unmatched []string
	}{
		{"automatic", `auto = true`, []string{"192.168.0.0/24"}, nil},
		{"an interface means global prefixes", `interface "*" {}`, []string{"192.168.0.0/24", "172.17.0.0/16"}, nil},
		{"a prefix means what it says", `prefix "fe80::/64" {}
			prefix "127.0.0.1" {}`, []string{"127.0.0.0/8", "fe80::/64"}, nil},
		{"or lies in what is local", `prefix "fe80::/10" {}
			prefix "127.0.0.0/7" {}`, []string{"127.0.0.0/8", "fe80::/64"}, nil},
		{"everything is what leads somewhere", `prefix "0.0.0.0/0" {}
			prefix "::/0" {}`, []string{"192.168.0.0/24", "172.17.0.0/16"}, nil},
		{"what is not there", `prefix "192.168.0.0/16" {}
			interface "wwan0" {}
			prefix "10.0.0.0/8" {}`, []string{"192.168.0.0/24"}, []string{"wwan0", "10.0.0.0/8"}},
		{"nothing of lo", `interface "lo" {}`, nil, nil},
		{"what is switched off matches all the same", `interface "wlan0" { enabled = false }`, nil, nil},
	} {
		cfg, err := config.Parse([]byte(tt.conf), "test.conf")
		if err != nil {
			t.Fatal(err)
		}
		nets := netmon.NewSnapshot(state)
		var got, unmatched []string
		for _, n := range Select(cfg, nets) {
			got = append(got, n.Prefix.Prefix.String())
		}
		for _, b := range Unmatched(cfg, nets) {
			if b.Interface != "" {
				unmatched = append(unmatched, b.Interface)
				continue
			}
			unmatched = append(unmatched, b.Prefix.String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: selected (-want +got)\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.unmatched, unmatched); diff != "" {
			t.Errorf("%s: unmatched (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestBarren(t *testing.T) {
	nets := netmon.NewSnapshot(netmon.State{
		Links: []netmon.Link{{Index: 1, Name: "lo", Up: true, Running: true, Loopback: true}, {Index: 2, Name: "eth0", Up: true, Running: true}, {Index: 3, Name: "eth1", Up: true, Running: true}},
		Addrs: []netmon.Addr{
			{Index: 1, Prefix: netip.MustParsePrefix("127.0.0.1/8"), Scope: netmon.ScopeHost},
			{Index: 2, Prefix: netip.MustParsePrefix("192.168.0.23/24"), Scope: netmon.ScopeGlobal},
			{Index: 2, Prefix: netip.MustParsePrefix("fe80::23/64"), Scope: netmon.ScopeLink},
			{Index: 3, Prefix: netip.MustParsePrefix("fe80::24/64"), Scope: netmon.ScopeLink},
		},
	})
	cfg, err := config.Parse([]byte(`interface "lo" {}
interface "eth0" {}
interface "eth1" {}
interface "eth2" {}
prefix "127.0.0.1" {}
prefix "::/0" {}
interface "*" {}
interface "l*" { enabled = false }
`), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	list, links := Barren(cfg, nets)
	for i, b := range list {
		text := b.Written + ":"
		for _, l := range links[i] {
			text += " " + l.Name
		}
		got = append(got, text)
	}
	if diff := cmp.Diff([]string{"lo: lo", "eth1: eth1", "::/0: eth0 eth1"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
