package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/policy"
)

func TestSettings(t *testing.T) {
	yes, no := true, false
	servers := func(all ...string) (list []netip.AddrPort) {
		for _, s := range all {
			list = append(list, netip.MustParseAddrPort(s+":53"))
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		src    string
		iface  string
		prefix string
		want   PrefixSettings
	}{
		{"nothing", `prefix "10.0.0.0/8" {}`, "eth0", "192.0.2.0/24", PrefixSettings{}},
		{"equal", `prefix "192.0.2.0/24" {}`, "eth0", "192.0.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"inside", `prefix "10.0.0.0/8" {}`, "eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"address inside", `prefix "10.1.2.3/30" {}`, "eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"longer, address outside", `prefix "10.1.3.3/30" {}`, "eth0", "10.1.2.0/24", PrefixSettings{}},
		{"address alone", `prefix "10.1.2.3" {}`, "eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"address with length, network beside it", `prefix "10.0.2.0/16" {}`, "eth0", "10.0.3.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"other family", `prefix "0.0.0.0/0" {}`, "eth0", "2001:db8::/64", PrefixSettings{}},
		{"IPv6", `prefix "2001:db8::/32" {}`, "eth0", "2001:db8:1::/64", PrefixSettings{Named: true, Enabled: true}},
		{"every interface with link-local", `prefix "fe80::/64" {}`, "eth7", "fe80::/64", PrefixSettings{Named: true, Enabled: true}},
		{"interface", `interface "eth0" {}`, "eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"pattern", `interface "eth[0-3]" {}`, "eth2", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"other interface", `interface "wwan*" {}`, "eth0", "10.1.2.0/24", PrefixSettings{}},
		{"disabled", "prefix \"10.0.0.0/8\" {\n  enabled = false\n}", "eth0", "10.1.2.0/24", PrefixSettings{Named: true}},
		{
			"disabled by the general one, named by the specific one",
			"interface \"*\" {\n  enabled = false\n}\nprefix \"10.0.0.0/8\" {\n  cost = \"metered\"\n}",
			"eth0", "10.1.2.0/24", PrefixSettings{Named: true, Cost: policy.Metered, CostGiven: true},
		},
		{
			"enabled by the specific one",
			"prefix \"10.0.0.0/8\" {\n  enabled = true\n}\ninterface \"*\" {\n  enabled = false\n}",
			"eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true},
		},
		{
			"all ranks, setting by setting",
			`prefix "10.1.2.0/24" {
			  nameserver = "10.1.2.1"
			}
			prefix "10.0.0.0/8" {
			  nameserver = "10.0.0.1"
			  default    = true
			  options {
			    a = 1
			  }
			}
			interface "wwan0" {
			  default = false
			  cost    = "expensive"
			  options {
			    a = 2
			    b = 2
			  }
			}
			interface "wwan*" {
			  name       = "mobile"
			  cost       = "metered"
			  resolvconf = "r"
			  options {
			    b = 3
			    c = "x"
			  }
			}
			interface "w*" {
			  name       = "radio"
			  resolvconf = "s"
			  dnsbindto  = "10.1.2.9"
			}`,
			"wwan0", "10.1.2.0/24",
			PrefixSettings{
				Named: true, Enabled: true, Name: "mobile", Default: &yes, Cost: policy.Expensive, CostGiven: true, Nameservers: servers("10.1.2.1"),
				ResolvConf: "r", DNSBindTo: netip.MustParseAddr("10.1.2.9"),
				Options: policy.Options{"a": policy.NewOption("1"), "b": policy.NewOption("2"), "c": policy.NewOption("x")},
			},
		},
		{
			"name over longer pattern",
			"interface \"e\" {\n  default = false\n}\ninterface \"[abcdef]\" {\n  default = true\n}",
			"e", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true, Default: &no},
		},
		{
			"later of equal patterns",
			"interface \"et*\" {\n  default = true\n}\ninterface \"*h0\" {\n  default = false\n}",
			"eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true, Default: &no},
		},

		{"original, not enabled", `prefix 10.1.2.3/24 { set default 1; };`, "eth0", "10.1.2.0/24", PrefixSettings{Named: true, Default: &yes}},
		{"original, enabled", `prefix 10.1.2.3/24 { enabled 1; };`, "eth0", "10.1.2.0/24", PrefixSettings{Named: true, Enabled: true}},
		{"original, length ignored", `prefix 10.1.2.3/8 { enabled 1; };`, "eth0", "10.1.3.0/24", PrefixSettings{}},
		{"original, equal prefixes everywhere", `prefix fe80::/64 { enabled 1; };`, "eth7", "fe80::/64", PrefixSettings{Named: true, Enabled: true}},
		{
			"original, later block about the same network replaces all but enabled",
			`prefix 10.1.2.3/24 { enabled 1; set a 1; set default 1; nameserver 10.1.2.1; }; prefix 10.1.2.4/24 { set b 2; };`,
			"eth0", "10.1.2.0/24",
			PrefixSettings{Named: true, Enabled: true, Options: policy.Options{"b": policy.NewOption("2")}},
		},
		{
			"original, later block about the same address, another between",
			`prefix 10.1.2.3/24 { enabled 1; }; prefix 10.1.2.4/24 { set b 2; }; prefix 10.1.2.3/24 { set c 3; };`,
			"eth0", "10.1.2.0/24",
			PrefixSettings{Named: true, Enabled: true, Options: policy.Options{"c": policy.NewOption("3")}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := mustParse(t, tt.src)
			got := c.Settings(tt.iface, netip.MustParsePrefix(tt.prefix))
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
