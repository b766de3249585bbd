package daemon

import (
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// at returns laptop whose Wi-Fi has a gateway with a link-layer address, or "" if that is
// not known.
func at(hardware string) netmon.State {
	s := laptop()
	s.Gateways = map[netmon.Gateway]string{{Index: 2, Addr: netip.MustParseAddr("192.168.0.1")}: hardware}
	return s
}

func point(bssid string) *hostfacts.Facts {
	if bssid == "" {
		return nil
	}
	return hostfacts.NewFacts(map[string]hostfacts.Link{"wlan0": {Wifi: &hostfacts.Wifi{BSSID: bssid, SSID: "cafe"}}}, nil)
}

func dark(s netmon.State) netmon.State {
	for i := range s.Links {
		s.Links[i].Running = s.Links[i].Index != 2 && s.Links[i].Running
	}
	return s
}

// The table says which words of services and kernel mean another attachment, and which are
// a better name for the same one.
func TestAttachments(t *testing.T) {
	type step struct {
		state netmon.State
		facts *hostfacts.Facts
		name  string
		anew  bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"the gateway becomes known", []step{{at(""), nil, "", true}, {at("02:a"), nil, "gateway 02:a", false}, {at(""), nil, "gateway 02:a", false}, {at("02:a"), nil, "gateway 02:a", false}}},
		{"another gateway has the address", []step{{at("02:a"), nil, "gateway 02:a", true}, {at("02:b"), nil, "gateway 02:b", true}, {at("02:a"), nil, "gateway 02:a", true}}},
		{"the cable was out", []step{{at("02:a"), nil, "gateway 02:a", true}, {dark(at("")), nil, "gateway 02:a", false}, {at(""), nil, "", true}, {at("02:b"), nil, "gateway 02:b", false}}},
		{"roaming between access points", []step{{at("02:a"), point("aa"), "wifi aa cafe", true}, {at("02:a"), point("bb"), "wifi bb cafe", true}, {at("02:a"), point("aa"), "wifi aa cafe", true}}},
		{"a service comes and goes", []step{{at("02:a"), nil, "gateway 02:a", true}, {at("02:a"), point("aa"), "wifi aa cafe", false}, {at("02:a"), nil, "wifi aa cafe", false}, {at("02:b"), nil, "gateway 02:b", true}}},
		{"another prefix", []step{{at("02:a"), nil, "gateway 02:a", true}, {moved(), nil, "", true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := openAttachments(t.TempDir(), slog.New(slog.DiscardHandler))
			last := uint64(0)
			for i, s := range tt.steps {
				nets := netmon.NewSnapshot(s.state)
				list := manage(parse(t, "auto = true"), nets, s.facts)
				a.look(list, nets, s.facts)
				m := list[0]
				if m.attachment != s.name || (m.stay != last) != s.anew {
					t.Errorf("step %d: %q, stay %d after %d; want %q, anew: %v", i, m.attachment, m.stay, last, s.name, s.anew)
				}
				last = m.stay
			}
		})
	}
}

// After sleep, nothing counts that was known before. Another network with the same prefix
// shows none of the former figures.
func TestNothingStaysAfterSleep(t *testing.T) {
	nets := newScript(at("02:a"))
	d, err := newDaemon(t.Context(), Options{Policies: policies.All()}, nets.watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	id := policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("192.168.0.0/24")}
	before, stay := maps.Clone(d.current.attached.at), d.health.stays[id].number
	d.resumed(time.Hour)
	if now := d.current.attached.at; now[id].stay == before[id].stay || now[id].name != "gateway 02:a" {
		t.Errorf("%+v after %+v", now[id], before[id])
	}
	if now := d.health.stays[id].number; now == stay {
		t.Error("health counts what it knew before")
	}
	s := &pathstat.Snapshot{
		Prefixes: []pathstat.Prefix{{ID: id, Stay: before[id].stay}}, Paths: map[policy.PrefixID]policy.PathStats{id: {SRTTMin: time.Second}},
		Links: map[string]policy.LinkStats{"wlan0": {DownRateMax: 1}},
	}
	if got := s.Of(d.current.measuring); len(got.Paths) != 0 || len(got.Links) != 0 || len(s.Paths) != 1 {
		t.Errorf("figures of before: %v, %v", got.Paths, got.Links)
	}
	if got := s.Of(s.Prefixes); got != s {
		t.Error("the same stay has other figures")
	}
}

// A VPN costs what the network below it costs, unless the configuration sets a cost for the
// VPN itself.
func TestVPNCostsWhatIsBelow(t *testing.T) {
	metered := hostfacts.Link{Metered: hostfacts.MeteredYes}
	for _, tt := range []struct {
		name, conf   string
		facts        map[string]hostfacts.Link
		cost, source string
	}{
		{"nobody says anything", "auto = true", nil, "free", ""},
		{"a service says it of Wi-Fi", "auto = true", map[string]hostfacts.Link{"wlan0": metered}, "metered", "NetworkManager of wlan0"},
		{"of another network", "auto = true", map[string]hostfacts.Link{"wwan0": metered}, "free", ""},
		{"the configuration says it of Wi-Fi", "auto = true\ninterface \"wlan0\" { cost = \"expensive\" }", nil, "expensive", "configuration of wlan0"},
		{"Wi-Fi is not managed", "auto = true\ninterface \"wlan0\" { enabled = false }", map[string]hostfacts.Link{"wlan0": metered}, "metered", "NetworkManager of wlan0"},
		{"the configuration says it of the VPN", "auto = true\ninterface \"wg0\" { cost = \"free\" }", map[string]hostfacts.Link{"wlan0": metered}, "free", "configuration"},
		{"a service says it of the VPN", "auto = true", map[string]hostfacts.Link{"wlan0": metered, "wg0": {Metered: hostfacts.MeteredNo}}, "free", ""},
		{"it costs more itself", "auto = true\ninterface \"wg0\" { cost = \"expensive\" }", map[string]hostfacts.Link{"wlan0": metered}, "expensive", "configuration"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := tt.conf
			if !strings.Contains(conf, "wg0") {
				conf += "\ninterface \"wg0\" {}"
			}
			nets, facts := netmon.NewSnapshot(vpn()), hostfacts.NewFacts(tt.facts, nil)
			found := false
			for _, m := range manage(parse(t, conf), nets, facts) {
				if m.prefix.Interface != "wg0" {
					continue
				}
				found = true
				if m.prefix.Cost.String() != tt.cost || m.costSource != tt.source {
					t.Errorf("costs %v, says %q; want %s, %q", m.prefix.Cost, m.costSource, tt.cost, tt.source)
				}
			}
			if !found {
				t.Error("the VPN is not managed")
			}
		})
	}
}
