package hostfacts

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/policy"
)

func TestCost(t *testing.T) {
	for _, tt := range []struct {
		name   string
		link   Link
		cost   policy.Cost
		source string
	}{
		{"nothing is known", Link{}, policy.Free, ""},
		{"metered", Link{Metered: MeteredYes}, policy.Metered, NetworkManager},
		{"guessed", Link{Metered: MeteredGuessYes}, policy.Metered, NetworkManager},
		{"not metered", Link{Metered: MeteredNo}, policy.Free, ""},
		{"guessed not", Link{Metered: MeteredGuessNo}, policy.Free, ""},
		{"at home", Link{Metered: MeteredGuessYes, Modem: &Modem{Technology: "LTE"}}, policy.Metered, NetworkManager},
		{"abroad", Link{Metered: MeteredNo, Modem: &Modem{Roaming: true}}, policy.Expensive, ModemManager},
	} {
		if cost, source := tt.link.Cost(); cost != tt.cost || source != tt.source {
			t.Errorf("%s: %v by %q", tt.name, cost, source)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		domain, host string
		want         bool
	}{
		{"corp.example", "corp.example", true}, {"corp.example", "a.b.CORP.example", true},
		{"corp.example", "acorp.example", false}, {"corp.example", "example", false}, {"corp.example", "", false},
		{"", "x", false}, {"", "", false}, {"corp.example", "corp.example.net", false},
	} {
		if got := (Domain{Name: tt.domain}).Covers(tt.host); got != tt.want {
			t.Errorf("%q covers %q: %v", tt.domain, tt.host, got)
		}
	}
}

// Facts that differ only in what decisions do not depend on are alike.
func TestAlike(t *testing.T) {
	metered := map[string]Link{"wlan0": {Metered: MeteredYes}}
	dns := map[int]DNS{3: {Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}}}
	for _, tt := range []struct {
		name string
		a, b *Facts
		want bool
	}{
		{"nothing and nobody", nil, &Facts{}, true},
		{"a service without a word", &Facts{}, NewFacts(nil, nil, Service{Name: NetworkManager}), true},
		{"a signal", NewFacts(map[string]Link{"wlan0": {Wifi: &Wifi{Signal: 1}}}, nil), nil, true},
		{"guessed or known", NewFacts(metered, nil), NewFacts(map[string]Link{"wlan0": {Metered: MeteredGuessYes}}, nil), true},
		{"a cost", NewFacts(metered, nil), nil, false},
		{"a cost, the other way round", nil, NewFacts(metered, nil), false},
		{"a portal of one family", NewFacts(map[string]Link{"wlan0": {Connectivity6: ConnectivityPortal}}, nil), nil, false},
		{"full and unknown", NewFacts(map[string]Link{"wlan0": {Connectivity: ConnectivityFull}}, nil), nil, true},
		{"servers", NewFacts(nil, dns), nil, false},
		{"a portal that is told of", NewFacts(map[string]Link{"wlan0": {Portal: "https://p/"}}, nil), nil, false},
		{"a portal that is open", NewFacts(map[string]Link{"wlan0": {Portal: "https://p/", Connectivity: ConnectivityFull, Connectivity6: ConnectivityFull}}, nil), nil, true},
		{"a state", NewFacts(map[string]Link{"wlan0": {Online: "online"}}, nil), nil, true},
	} {
		if got := tt.a.Alike(tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// The reason names the address of the portal, if the network has announced it.
func TestPortal(t *testing.T) {
	told := Link{Portal: "https://p/", PortalSource: Networkd}
	for _, tt := range []struct {
		name             string
		link             Link
		doubt, announced string
	}{
		{"nothing", Link{}, "", ""},
		{"found", Link{Connectivity: ConnectivityPortal}, "a portal wants its users to log in (NetworkManager)", ""},
		{"told of", told, "", "the network tells of a portal at https://p/ (systemd-networkd)"},
		{"both", with(told, func(l *Link) { l.Connectivity = ConnectivityPortal }), "a portal wants its users to log in at https://p/ (NetworkManager)", "the network tells of a portal at https://p/ (systemd-networkd)"},
		{"open", with(told, func(l *Link) { l.Connectivity = ConnectivityFull }), "", ""},
		{"limited", Link{Connectivity: ConnectivityLimited}, "the Internet is not reached (NetworkManager)", ""},
	} {
		if doubt, announced := tt.link.Doubt(policy.IPv4), tt.link.Announced(policy.IPv4); doubt != tt.doubt || announced != tt.announced {
			t.Errorf("%s: %q, %q", tt.name, doubt, announced)
		}
	}
}

func TestLinkFacts(t *testing.T) {
	l := Link{
		Metered: MeteredGuessYes, Connectivity: ConnectivityPortal, VPN: true, Online: "partial", Portal: "https://p/", PortalSource: Networkd,
		Wifi:  &Wifi{SSID: "Cafe", BSSID: "02:00:00:00:00:01", Signal: 61, BitRate: 54_000_000},
		Modem: &Modem{Technology: "LTE", Operator: "Example", Signal: 40, Roaming: true},
	}
	var got []string
	for _, f := range l.Facts(policy.IPv4) {
		got = append(got, f.Name+"="+f.Value+" ("+f.Source+")")
	}
	want := []string{
		"metered=yes (guessed) (NetworkManager)", "connectivity=portal (NetworkManager)",
		"state=partial (systemd-networkd)", "portal=https://p/ (systemd-networkd)", "vpn=yes (NetworkManager)", "wifi=Cafe (NetworkManager)",
		"access point=02:00:00:00:00:01 (NetworkManager)", "signal=61 % (NetworkManager)", "bit rate=54 Mbit/s (NetworkManager)",
		"technology=LTE (ModemManager)", "operator=Example (ModemManager)", "signal=40 % (ModemManager)", "roaming=yes (ModemManager)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if n := len(l.Facts(policy.IPv6)); n != len(want)-1 {
		t.Errorf("of IPv6, whose connectivity is not known, %d facts", n)
	}
	if none := (&Link{}).Facts(policy.IPv4); len(none) != 0 {
		t.Errorf("of nothing: %v", none)
	}
}

func TestRoutes(t *testing.T) {
	nets := netmon.NewSnapshot(netmon.State{Links: []netmon.Link{
		{Index: 2, Name: "wlan0", Type: "device"}, {Index: 5, Name: "tun0", Type: "tuntap"}, {Index: 6, Name: "nm-vpn", Type: "device"},
	}})
	at := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}
	f := NewFacts(map[string]Link{"nm-vpn": {VPN: true}}, map[int]DNS{
		2: {Servers: at, Domains: []Domain{{Name: "com"}, {Name: "b.example", RouteOnly: true}}, Root: true},
		5: {Servers: at, Domains: []Domain{{Name: "a.example"}}, Root: true, TLS: true},
		6: {Servers: at, Domains: []Domain{{Name: "a.example"}}},
		7: {Servers: at, Domains: []Domain{{Name: "gone.example", RouteOnly: true}}},
	})
	var got []string
	for _, r := range f.Routes(nets) {
		got = append(got, r.Domain.Name+" "+r.Interface)
	}
	if diff := cmp.Diff(". tun0, a.example tun0, a.example nm-vpn, b.example wlan0", strings.Join(got, ", ")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if (*Facts)(nil).Routes(nets) != nil {
		t.Error("nothing has routes")
	}
}
