package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/pathstat"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// laptop has Wi-Fi and LTE, both with a default route, of which Wi-Fi's is preferred, and a
// container bridge. It has no source rules, so packets of sockets bound to the LTE address
// leave by Wi-Fi.
func laptop() netmon.State {
	return netmon.State{
		Links: []netmon.Link{
			{Index: 1, Name: "lo", Up: true, Running: true, Loopback: true},
			{Index: 2, Name: "wlan0", Type: "device", Up: true, Running: true},
			{Index: 3, Name: "wwan0", Type: "device", Up: true, Running: true},
			{Index: 4, Name: "docker0", Type: "bridge", Up: true, Running: true},
		},
		Addrs: []netmon.Addr{
			address(1, "127.0.0.1/8", netmon.ScopeHost),
			address(2, "192.168.0.23/24", netmon.ScopeGlobal),
			address(3, "10.64.3.9/10", netmon.ScopeGlobal),
			address(4, "172.17.0.1/16", netmon.ScopeGlobal),
			address(2, "2001:db8:1::23/64", netmon.ScopeGlobal),
			address(2, "fe80::23/64", netmon.ScopeLink),
		},
		Ways: map[netmon.Vantage]oracle.Way{
			unbound4: way(2, "192.168.0.1", 600), unbound6: way(2, "fe80::1", 600),
			source("192.168.0.23"): way(2, "192.168.0.1", 600), source("10.64.3.9"): way(2, "192.168.0.1", 600), source("172.17.0.1"): way(2, "192.168.0.1", 600),
			source("2001:db8:1::23"):                              way(2, "fe80::1", 600),
			{Source: netip.MustParseAddr("10.64.3.9"), Device: 3}: way(3, "10.64.0.1", 700),
		},
	}
}

var (
	unbound4 = netmon.Vantage{Source: netip.IPv4Unspecified()}
	unbound6 = netmon.Vantage{Source: netip.IPv6Unspecified()}
)

func source(addr string) netmon.Vantage { return netmon.Vantage{Source: netip.MustParseAddr(addr)} }

// way makes a way to the whole Internet. Without a gateway, it leads to the link.
func way(index int, gateway string, metric int) oracle.Way {
	w := oracle.Way{Verdict: oracle.Sent, Hop: oracle.Hop{Index: index}, Table: netmon.TableMain, Metric: metric}
	if gateway != "" {
		w.Gateway = netip.MustParseAddr(gateway)
	}
	return w
}

func address(index int, prefix string, scope netmon.Scope) netmon.Addr {
	return netmon.Addr{Index: index, Prefix: netip.MustParsePrefix(prefix), Scope: scope}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse([]byte(text), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// summary returns a line for each managed prefix.
func summary(list []managed) []string {
	var out []string
	for _, m := range list {
		line := []string{m.prefix.ID.String()}
		if m.prefix.Default {
			line = append(line, "default")
		}
		if m.device != "" {
			line = append(line, "device "+m.device)
		}
		if m.prefix.Cost != policy.Free {
			line = append(line, m.prefix.Cost.String())
		}
		if h := m.prefix.Health; h.State != policy.Up {
			line = append(line, h.State.String()+": "+h.Reason)
		}
		out = append(out, strings.Join(line, ", "))
	}
	return out
}

func TestManage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		conf   string // "": automatic
		change func(*netmon.State)
		want   []string
	}{
		{
			name: "automatic: what has a default route, preferred one default",
			want: []string{"192.168.0.0/24%wlan0, default", "10.64.0.0/10%wwan0, device wwan0", "2001:db8:1::/64%wlan0, default"},
		},
		{
			name: "automatic beside a full tunnel: nothing but the tunnel",
			change: func(s *netmon.State) {
				s.Links = append(s.Links, netmon.Link{Index: 9, Name: "wg0", Type: "wireguard", Up: true, Running: true})
				s.Addrs = append(s.Addrs, address(9, "10.9.0.2/24", netmon.ScopeGlobal))
				s.Ways[unbound4], s.Ways[source("10.9.0.2")] = way(9, "", 0), way(9, "", 0)
			},
			want: []string{"10.9.0.0/24%wg0, default"},
		},
		{
			name: "automatic and a block: the block adds and takes away",
			conf: `auto = true
			       interface "docker0" {}
			       interface "wwan*" { enabled = false }`,
			want: []string{"192.168.0.0/24%wlan0, default", "172.17.0.0/16%docker0", "2001:db8:1::/64%wlan0, default"},
		},
		{
			name: "automatic and a default of one's own",
			conf: "auto = true\nprefix \"10.64.0.0/10\" { default = true }",
			want: []string{"192.168.0.0/24%wlan0", "10.64.0.0/10%wwan0, default, device wwan0", "2001:db8:1::/64%wlan0, default"},
		},
		{
			name: "an interface block means global addresses",
			conf: `policy "sample" {}
			       interface "*" { cost = "metered" }`,
			want: []string{
				"192.168.0.0/24%wlan0, metered", "10.64.0.0/10%wwan0, device wwan0, metered", "172.17.0.0/16%docker0, metered",
				"2001:db8:1::/64%wlan0, metered",
			},
		},
		{
			name: "a prefix block means what it names",
			conf: `policy "sample" {}
			       prefix "127.0.0.0/8" {}
			       prefix "fe80::/64" {}`,
			want: []string{"127.0.0.0/8%lo", "fe80::/64%wlan0"},
		},
		{
			name: "original grammar: enabled must be said",
			conf: `policy "policy_sample.so" {};
			       prefix 192.168.0.0/24 { set default 1; };
			       prefix 10.64.3.9/10 { enabled 1; };`,
			want: []string{"10.64.0.0/10%wwan0, device wwan0"},
		},
		{
			name: "devices always",
			conf: `bind_device = "always"
			       policy "sample" {}
			       interface "w*" {}`,
			want: []string{"192.168.0.0/24%wlan0, device wlan0", "10.64.0.0/10%wwan0, device wwan0", "2001:db8:1::/64%wlan0, device wlan0"},
		},
		{
			name: "devices never",
			conf: `bind_device = "never"
			       policy "sample" {}
			       interface "w*" {}`,
			want: []string{"192.168.0.0/24%wlan0", "10.64.0.0/10%wwan0", "2001:db8:1::/64%wlan0"},
		},
		{
			name: "no device where a source rule does it",
			conf: `policy "sample" {}
			       interface "wwan0" {}`,
			change: func(s *netmon.State) { s.Ways[source("10.64.3.9")] = way(3, "10.64.0.1", 0) },
			want:   []string{"10.64.0.0/10%wwan0"},
		},
		{
			name: "a link without carrier is down",
			conf: `policy "sample" {}
			       interface "wwan0" {}`,
			change: func(s *netmon.State) { s.Links[2].Running = false },
			want:   []string{"10.64.0.0/10%wwan0, device wwan0, down: the link has no carrier"},
		},
		{
			name: "the same address on two sticks: two networks, told apart by device",
			conf: `auto = true`,
			change: func(s *netmon.State) {
				s.Addrs = []netmon.Addr{address(2, "192.168.8.100/24", netmon.ScopeGlobal), address(3, "192.168.8.100/24", netmon.ScopeGlobal)}
				stick := netip.MustParseAddr("192.168.8.100")
				s.Ways = map[netmon.Vantage]oracle.Way{
					unbound4: way(2, "192.168.8.1", 100), {Source: stick}: way(2, "192.168.8.1", 100),
					{Source: stick, Device: 2}: way(2, "192.168.8.1", 100), {Source: stick, Device: 3}: way(3, "192.168.8.1", 101),
				}
			},
			want: []string{"192.168.8.0/24%wlan0, default, device wlan0", "192.168.8.0/24%wwan0, device wwan0"},
		},
		{
			name: "the kernel's own choice is the default, whatever the metrics of other tables",
			conf: `auto = true`,
			change: func(s *netmon.State) {
				s.Addrs = append(s.Addrs, address(2, "192.168.1.5/24", netmon.ScopeGlobal))
				chosen := way(2, "", 600)
				chosen.Source = netip.MustParseAddr("192.168.1.5")
				s.Ways[unbound4], s.Ways[source("192.168.1.5")], s.Ways[source("192.168.0.23")] = chosen, way(2, "", 600), way(2, "", 600)
				s.Ways[source("10.64.3.9")] = way(3, "10.64.0.1", 0)
			},
			want: []string{"192.168.0.0/24%wlan0", "192.168.1.0/24%wlan0, default", "10.64.0.0/10%wwan0", "2001:db8:1::/64%wlan0, default"},
		},
		{
			name: "under an alternative name",
			conf: `interface "uplink-*" { cost = "metered" }`,
			change: func(s *netmon.State) {
				s.Links[2].AltNames = []string{"uplink-fibre"}
			},
			want: []string{"10.64.0.0/10%wwan0, device wwan0, metered"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := laptop()
			if tt.change != nil {
				tt.change(&state)
			}
			cfg := config.Auto()
			if tt.conf != "" {
				cfg = parse(t, tt.conf)
			}
			if diff := cmp.Diff(tt.want, summary(manage(cfg, netmon.NewSnapshot(state), nil))); diff != "" {
				t.Errorf("managed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMeasured(t *testing.T) {
	list := manage(config.Auto(), netmon.NewSnapshot(laptop()), nil)
	wifi := &policy.WifiStats{Signal: -60}
	got := measured(list, &pathstat.Snapshot{
		Indexes: map[string]int{"wlan0": 2, "wwan0": 3},
		Paths:   map[policy.PrefixID]policy.PathStats{list[1].prefix.ID: {Conns: 7}},
		Links:   map[string]policy.LinkStats{"wlan0": {DownRate: 1000}},
		Wifi:    map[string]*policy.WifiStats{"wlan0": wifi},
	})
	if got[1].Stats.Conns != 7 || got[0].Stats.Conns != 0 || got[0].Link.DownRate != 1000 || got[2].Wifi != wifi || got[1].Wifi != nil {
		t.Errorf("measurements are not where they belong: %+v", got)
	}
	if list[1].prefix.Stats.Conns != 0 {
		t.Error("the managed prefix was changed")
	}
}

// A prefix that names servers has a resolver of its own. A resolver that does not change is
// kept, with what it has cached.
func TestResolversAreKept(t *testing.T) {
	r := newResolvers(nil)
	defer r.close()
	nets := netmon.NewSnapshot(laptop())
	conf := `policy "sample" {}
	prefix "192.168.0.0/24" { nameserver = ["192.168.0.1"] }
	prefix "10.64.0.0/10" {}`
	list := manage(parse(t, conf), nets, nil)
	own := func(text string) map[policy.PrefixID]mam.Resolver {
		cfg := parse(t, text)
		lookups, _ := r.of(cfg, nets, manage(cfg, nets, nil), nil)
		return lookups
	}
	first := own(conf)
	if len(first) != 1 {
		t.Fatalf("%d resolvers, want that of wlan0 only", len(first))
	}
	id := list[0].prefix.ID
	if second := own(conf); second[id] != first[id] {
		t.Error("an unchanged resolver was replaced")
	}
	changed := own(strings.Replace(conf, ".1\"", ".2\"", 1))
	if changed[id] == first[id] {
		t.Error("a changed resolver was kept")
	}
	_ = first[id].(lookup).r.Close()
}

// If no servers are named, those that the network manager has for the interface are asked,
// over that interface.
func TestLinkServersAreUsed(t *testing.T) {
	run := t.TempDir()
	dir := filepath.Join(run, "systemd/resolve/netif")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for index, text := range map[string]string{"2": "SERVERS=192.168.0.53", "3": "SERVERS=10.64.0.53"} {
		if err := os.WriteFile(filepath.Join(dir, index), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nets := netmon.NewSnapshot(laptop())
	links := &linkDNS{run: run}
	if !links.look(nets, nil) || links.look(nets, nil) {
		t.Error("the first look finds what is new, the second one nothing")
	}
	for _, tt := range []struct {
		name, conf string
		want       []string // by prefix
	}{
		{"all that there is", `auto = true`, []string{"[192.168.0.53:53]", "[10.64.0.53:53]", "[192.168.0.53:53]"}},
		{"one names its own", `auto = true
			prefix "10.64.0.0/10" { nameserver = ["192.0.2.9"] }`, []string{"[192.168.0.53:53]", "[192.0.2.9:53]", "[192.168.0.53:53]"}},
		{"one refuses", `auto = true
			interface "wlan0" { link_dns = false }`, []string{"-", "[10.64.0.53:53]", "-"}},
		{"the original grammar", "prefix 192.168.0.0/24 { enabled 1; };\nprefix 10.64.0.0/10 { enabled 1; };", []string{"-", "-"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := parse(t, tt.conf)
			list := manage(cfg, nets, nil)
			links.use(cfg, list)
			r := newResolvers(nil)
			defer r.close()
			lookups, _ := r.of(cfg, nets, list, nil)
			var got []string
			for i := range list {
				l, ok := lookups[list[i].prefix.ID].(lookup)
				if !ok {
					got = append(got, "-")
					continue
				}
				got = append(got, fmt.Sprint(l.Servers()))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestNeedRestart(t *testing.T) {
	a := parse(t, `policy "sample" {}`)
	b := parse(t, `socket = "/run/x.sock"
	compat_fifo = "/run/fifo"
	control_group = "adm"
	state_dir = "/var/lib/x"
	policy "intents" {}`)
	if diff := cmp.Diff([]string{"socket", "compat_fifo", "control_group", "state_dir"}, needRestart(a, b)); diff != "" {
		t.Error(diff)
	}
}

// The original's logs have every prefix of the host except loopback. Without these logs,
// only managed prefixes are measured.
func TestMeasurable(t *testing.T) {
	nets := netmon.NewSnapshot(laptop())
	list := manage(parse(t, `prefix "192.168.0.0/24" {}`), nets, nil)
	for logged, want := range map[bool][]string{
		false: {"wlan0 192.168.0.23"},
		true:  {"wlan0 192.168.0.23", "wwan0 10.64.3.9", "docker0 172.17.0.1", "wlan0 2001:db8:1::23", "wlan0 fe80::23"},
	} {
		var got []string
		for _, p := range measurable(list, nets, logged) {
			got = append(got, fmt.Sprint(p.ID.Interface, " ", p.Addrs[0]))
			if p.Index == 0 || p.Loopback {
				t.Errorf("%+v", p)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("logged %v (-want +got)\n%s", logged, diff)
		}
	}
}

func TestTwoDefaults(t *testing.T) {
	for _, tt := range []struct {
		name, conf string
		want       []string
	}{
		{"one", `interface "wlan0" { default = true }`, nil},
		{"automatic", `auto = true`, nil},
		{"two", "interface \"wlan0\" { default = true }\ninterface \"wwan0\" { default = true }", []string{
			"10.64.0.0/10 on wwan0 is a second default of IPv4; that on wlan0, which comes first, is used",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, twoDefaults(manage(parse(t, tt.conf), netmon.NewSnapshot(laptop()), nil))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The mistakes in a file and those of its policy are reported together, in the order of the
// file. Mistakes without a place come last.
func TestReadConfigTellsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.conf")
	for _, tt := range []struct {
		name, conf string
		want       []string
	}{
		{"good", "policy \"sample\" {}\nauto = true\n", nil},
		{"setting of a policy", "routing = \"x\"\npolicy \"sample\" {\n  lgfile = \"x\"\n}\nauto = 1\n", []string{
			`:1,11-14: routing must be`, `:3,3-9: unknown setting "lgfile" in policy "sample"; did you mean "logfile"?`, `:5,8: auto must be true or false`,
		}},
		{"unknown policy", "policy \"smaple\" {}\nauto = 1\n", []string{`:1,8-16: unknown policy "smaple"; did you mean "sample"?`, `:2,8: auto must be true or false`}},
		{"no policy", "auto = 1\n", []string{":1,8: auto must be"}},
		{"nothing that a policy needs", "policy \"score\" {\n  require = true\n}\nauto = 1\n", []string{`:1,8-15: policy "score" needs a setting minimize or maximize, such as minimize = prefix.srtt_median_recent`, ":4,8: auto must be"}},
		{"misspelt what it needs", "policy \"score\" {\n  minimise = 1\n  require = b\n}\nauto = 1\n", []string{
			`:2,3-11: unknown setting "minimise" in policy "score"; did you mean "minimize"?`, `:3,`, ":5,8: auto must be",
		}},
		{"quoted wrongly what it needs", "policy \"score\" {\n  minimize = 'prefix.num_conns'\n  require = b\n}\n", []string{":2,14-32: minimize in policy", ":3,"}},
		{"a block for what it needs", "policy \"score\" {\n  minimize {\n  }\n}\n", []string{`:2,3-11: policy "score" cannot hold a block`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tt.conf), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := (&loader{known: policies.All()}).readConfig(t.Context(), path)
			var got []string
			if err != nil {
				for line := range strings.Lines(err.Error()) {
					if !strings.HasPrefix(line, " ") { // no line of the file
						got = append(got, strings.TrimPrefix(line, path))
					}
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tt.want[i]) {
					t.Errorf("got %q, want %q", got[i], tt.want[i])
				}
			}
		})
	}
}

func TestLocal(t *testing.T) {
	is := local(netmon.NewSnapshot(laptop()))
	for addr, want := range map[string]bool{
		"192.168.0.23": true, "::ffff:192.168.0.23": true, "fe80::23%wlan0": true, "127.0.0.5": true, "192.168.0.24": false, "2001:db8::1": false,
	} {
		if got := is(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

// If the kernel may refuse a network what it permits to others, that network is asked about
// by itself.
func TestOrigins(t *testing.T) {
	rule := func(source string) netmon.Rule {
		return netmon.Rule{Priority: 1000, Source: netip.MustParsePrefix(source), Table: 77}
	}
	for _, tt := range []struct {
		name, conf string
		change     func(*netmon.State)
		want       []string
	}{
		{"bound to the device", `auto = true`, nil, []string{"10.64.3.9 by wwan0"}},
		{"never bound", "auto = true\nbind_device = \"never\"", nil, nil},
		{"a rule looks at the source", `auto = true`, func(s *netmon.State) {
			s.Rules = []netmon.Rule{rule("192.168.0.0/24"), rule("198.18.0.0/15")}
		}, []string{"192.168.0.23", "10.64.3.9 by wwan0"}},
		{"a rule looks at a source that leads elsewhere", "auto = true\nbind_device = \"never\"", func(s *netmon.State) {
			s.Rules = []netmon.Rule{rule("10.64.0.0/10")}
		}, []string{"10.64.3.9 by wwan0"}},
		{"a route looks at the source", `auto = true`, func(s *netmon.State) {
			w := way(2, "fe80::1", 600)
			w.BySource = true
			s.Ways[source("2001:db8:1::23")] = w
		}, []string{"10.64.3.9 by wwan0", "2001:db8:1::23"}},
	} {
		state := laptop()
		if tt.change != nil {
			tt.change(&state)
		}
		nets := netmon.NewSnapshot(state)
		var got []string
		for _, o := range origins(nets, manage(parse(t, tt.conf), nets, nil)) {
			text := o.Source.String()
			if l, _ := nets.Link(o.Index); o.Bound {
				text += " by " + l.Name
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}
