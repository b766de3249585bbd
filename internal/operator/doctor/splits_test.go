package doctor

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
)

// The doctor says which names are looked up over another network than their connections
// use, and how to prevent that.
func TestSplits(t *testing.T) {
	nets := netmon.NewSnapshot(netmon.State{
		Links: []netmon.Link{{Index: 2, Name: "wlan0", Type: "device", Up: true}, {Index: 9, Name: "wg*", Type: "wireguard", Up: true}},
		Addrs: []netmon.Addr{{Index: 9, Prefix: netip.MustParsePrefix("10.9.0.2/24"), Scope: netmon.ScopeGlobal}},
	})
	at := func(s string) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(s)} }
	dns := map[int]hostfacts.DNS{
		2: {Source: hostfacts.Resolved, Servers: at("192.0.2.1:53"), Domains: []hostfacts.Domain{{Name: "com"}}},
		9: {Source: hostfacts.Resolved, Servers: at("10.9.0.53:5353"), Domains: []hostfacts.Domain{{Name: "corp.example"}}},
	}
	all := &examination{facts: &Facts{Splits: splits(&config.Config{}, nets, hostfacts.NewFacts(nil, map[int]hostfacts.DNS{
		9: {Source: hostfacts.Resolved, Servers: at("10.9.0.53:53"), Root: true, DefaultRoute: true},
	}))}}
	all.splits()
	if f := all.report.Findings; len(f) != 1 || f[0].Subject != "names below no other domain of an interface" || f[0].Evidence != "systemd-resolved has the domain . on wg*" {
		t.Errorf("of a tunnel for all names: %+v", f)
	}
	for _, tt := range []struct {
		name, conf string
		tls        bool
		source     string
		want       []Finding
	}{
		{"as it is", "auto = true", false, hostfacts.Resolved, []Finding{{
			Check: "names-by-domain", Subject: "names below corp.example", Text: "mamma looks these names up over wg*, whatever network a connection takes. The name servers there are 10.9.0.53:5353",
			Evidence: "systemd-resolved has the domain corp.example on wg*",
			Fix:      []string{`interface "wg\U0000005c\U0000002a" { link_dns = false }    # in the configuration; each connection then looks the names up on its own network`},
		}}},
		{"by TLS", "auto = true", true, hostfacts.Resolved, []Finding{{
			Check: "names-by-domain", Subject: "names below corp.example", Text: "systemd-resolved looks these names up over wg*, whatever network a connection takes. The name servers there demand TLS, which mamma does not speak: 10.9.0.53:5353",
			Evidence: "systemd-resolved has the domain corp.example on wg*",
			Fix:      []string{`interface "wg\U0000005c\U0000002a" { link_dns = false }    # in the configuration; each connection then looks the names up on its own network`},
		}}},
		{"as systemd-networkd says", "auto = true", false, hostfacts.Networkd, []Finding{{
			Check: "names-by-domain", Subject: "names below corp.example", Text: "mamma looks these names up over wg*, whatever network a connection takes. The name servers there are 10.9.0.53:5353",
			Evidence: "systemd-networkd has the domain corp.example on wg*",
			Fix:      []string{`interface "wg\U0000005c\U0000002a" { link_dns = false }    # in the configuration; each connection then looks the names up on its own network`},
		}}},
		{"by TLS, as systemd-networkd says", "auto = true", true, hostfacts.Networkd, []Finding{{
			Check: "names-by-domain", Subject: "names below corp.example", Text: "this host's own resolver looks these names up, whatever network a connection takes. The name servers of wg* demand TLS, which mamma does not speak: 10.9.0.53:5353",
			Evidence: "systemd-networkd has the domain corp.example on wg*",
			Fix:      []string{`interface "wg\U0000005c\U0000002a" { link_dns = false }    # in the configuration; each connection then looks the names up on its own network`},
		}}},
		{"switched off", "auto = true\ninterface \"wg?\" { link_dns = false }", false, hostfacts.Resolved, []Finding{{
			Check: "names-by-domain", Subject: "names below corp.example", Text: "each connection looks these names up on its own network. The domain is one of wg*, but mamma does not ask its name servers: the configuration forbids it (link_dns = false)",
			Evidence: "systemd-resolved has the domain corp.example on wg*",
		}}},
		{"in the original grammar", "policy \"policy_sample.so\" {};\nprefix 10.9.0.0/24 {};", false, hostfacts.Resolved, []Finding{{
			Check: "names-by-domain", Subject: "names below corp.example", Text: "each connection looks these names up on its own network. The domain is one of wg*, but mamma does not ask its name servers: the file is in the grammar of the original, which knew nothing of them",
			Evidence: "systemd-resolved has the domain corp.example on wg*",
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := config.Parse([]byte(tt.conf), "test.conf")
			if err != nil {
				t.Fatal(err)
			}
			d := dns[9]
			d.TLS, d.Source = tt.tls, tt.source
			dns[9] = d
			e := &examination{facts: &Facts{Splits: splits(cfg, nets, hostfacts.NewFacts(nil, dns))}}
			e.splits()
			if diff := cmp.Diff(tt.want, e.report.Findings); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if code := e.report.ExitCode(); code != 0 {
				t.Errorf("exit code %d of what is meant so", code)
			}
		})
	}
}
