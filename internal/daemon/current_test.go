package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// script is a host whose networks change when a test says so.
type script struct {
	current atomic.Pointer[netmon.Snapshot]
	changes chan struct{}
}

func newScript(s netmon.State) *script {
	n := &script{changes: make(chan struct{}, 1)}
	n.current.Store(netmon.NewSnapshot(s))
	return n
}

func (n *script) Snapshot() *netmon.Snapshot           { return n.current.Load() }
func (n *script) Subscribe() (<-chan struct{}, func()) { return n.changes, func() {} }
func (n *script) Run(ctx context.Context) error        { <-ctx.Done(); return nil }
func (n *script) Close()                               {}
func (n *script) Kernel() *oracle.Kernel               { return nil }
func (n *script) OnEvent(func())                       {}
func (n *script) Refresh()                             {}
func (n *script) KeepRoutes(bool)                      {}

func (n *script) watch(*config.Config, *slog.Logger) (hostNetworks, error) { return n, nil }

// become changes the networks, and reports that as netmon.Monitor does.
func (n *script) become(s netmon.State) {
	n.current.Store(netmon.NewSnapshot(s))
	select {
	case n.changes <- struct{}{}:
	default:
	}
}

// moved returns laptop after its Wi-Fi has joined another network.
func moved() netmon.State {
	s := laptop()
	for i, a := range s.Addrs {
		if a.Prefix == netip.MustParsePrefix("192.168.0.23/24") {
			s.Addrs[i] = address(2, "192.168.7.23/24", netmon.ScopeGlobal)
		}
	}
	return s
}

func names(v *mam.View) (out []string) {
	for _, p := range v.Prefixes {
		if p.Family() == policy.IPv4 {
			out = append(out, p.ID.String())
		}
	}
	return out
}

// slow returns the catalogue with one more policy. Its New waits for release, and says
// which prefixes it was given.
func slow(entered chan<- []string, release <-chan error) policy.Catalogue {
	all := append(slices.Clone(policies.All()), policy.Entry{Name: "slow", New: func(c policy.Config) (policy.Policy, error) {
		entered <- names(&mam.View{Prefixes: c.Prefixes})
		if err := <-release; err != nil {
			return nil, err
		}
		return policies.All().New("sample", policy.Config{Name: "sample", Prefixes: c.Prefixes})
	}})
	return all
}

// A change of the networks while a policy is being loaded is seen at once. It is still
// there afterwards, whether the policy could be loaded or not.
func TestNetworksChangeDuringReload(t *testing.T) {
	const before, after = "192.168.0.0/24%wlan0", "192.168.7.0/24%wlan0"
	const lte, bridge = "10.64.0.0/10%wwan0", "172.17.0.0/16%docker0"
	for _, tt := range []struct {
		name   string
		result error
		want   []string
	}{
		{"loaded", nil, []string{after, lte, bridge}},
		{"refused", errors.New("no"), []string{after, lte}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mamma.conf")
			configure := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			configure("policy \"sample\" {}\ninterface \"w*\" {}")
			synctest.Test(t, func(t *testing.T) {
				nets := newScript(laptop())
				entered, release := make(chan []string), make(chan error)
				d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: slow(entered, release)}, nets.watch)
				if err != nil {
					t.Fatal(err)
				}
				defer d.close()
				ctx, cancel := context.WithCancel(t.Context())
				followed := make(chan error)
				go func() { followed <- d.current.run(ctx) }()

				configure("policy \"slow\" {}\ninterface \"*\" {}")
				reloaded := make(chan error)
				go func() { reloaded <- d.Reload(t.Context()) }()
				if diff := cmp.Diff([]string{before, lte, bridge}, <-entered); diff != "" {
					t.Errorf("the policy is made with (-want +got)\n%s", diff)
				}
				nets.become(moved())
				synctest.Wait()
				if diff := cmp.Diff([]string{after, lte}, names(d.manager.View())); diff != "" {
					t.Errorf("while the policy is loading (-want +got)\n%s", diff)
				}
				release <- tt.result
				if err := <-reloaded; (err != nil) != (tt.result != nil) {
					t.Errorf("reload: %v", err)
				}
				if diff := cmp.Diff(tt.want, names(d.manager.View())); diff != "" {
					t.Errorf("afterwards (-want +got)\n%s", diff)
				}
				cancel()
				if err := <-followed; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A further instance of the policy, as for mammactl explain, gets the present networks, not
// those at the last reload.
func TestFreshPolicyHasTheNetworksOfTheMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mamma.conf")
	if err := os.WriteFile(path, []byte("policy \"slow\" {}\ninterface \"wlan0\" {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	nets := newScript(laptop())
	entered, release := make(chan []string, 1), make(chan error)
	close(release)
	d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: slow(entered, release)}, nets.watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	<-entered
	nets.become(moved())
	if _, err := d.manager.View().Fresh(); err != nil {
		t.Fatal(err)
	}
	if got := <-entered; !slices.Equal(got, []string{"192.168.7.0/24%wlan0"}) {
		t.Errorf("made with %v", got)
	}
}

// A reload names the settings that need a restart as long as they differ from those in use,
// and no longer when they are as before.
func TestReloadTellsWhatTakesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mamma.conf")
	configure := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("policy \"sample\" {}")
	var logged strings.Builder
	d, err := newDaemon(t.Context(), Options{
		ConfigPath: path, Policies: policies.All(), Log: slog.New(slog.NewTextHandler(&logged, nil)),
	}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"changed", "socket = \"/run/other.sock\"\npolicy \"sample\" {}", true},
		{"still so", "socket = \"/run/other.sock\"\npolicy \"sample\" {}", true},
		{"as at the start", "policy \"sample\" {}", false},
	} {
		logged.Reset()
		configure(tt.text)
		if err := d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(logged.String(), "at the next start only"); got != tt.want {
			t.Errorf("%s: told %v, want %v: %s", tt.name, got, tt.want, logged.String())
		}
	}
}

// The manual page names each setting that a reload cannot change.
func TestManualNamesWhatTakesARestart(t *testing.T) {
	page, err := os.ReadFile("../../doc/man/mamma.8")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "Some settings change at the next start only")
	text, _, found := strings.Cut(text, "A plugin")
	if !found {
		t.Fatal("the page does not say what changes at the next start only")
	}
	var other config.Config
	for _, s := range []*string{&other.Socket, &other.ControlSocket, &other.CompatSocket, &other.CompatFIFO, &other.ControlGroup, &other.StateDirectory, &other.SystemBus, &other.Decisions.Record, &other.Logs.Prefixes, &other.Placing.Pins} {
		*s = "other"
	}
	other.Sampling.Interval, other.MPTCP.PathManager, other.Metrics.Listen = 1, config.PathManagerUserspace, netip.MustParseAddrPort("127.0.0.1:1")
	other.FarAway = []netip.Addr{netip.IPv6Unspecified()}
	names := needRestart(&config.Config{}, &other)
	if len(names) < 14 {
		t.Errorf("only %d settings differ: %v", len(names), names)
	}
	for _, name := range names {
		if !strings.Contains(text, " "+name+",") && !strings.Contains(text, "\n"+name+",") && !strings.Contains(text, " "+name+".") {
			t.Errorf("%s is not among them", name)
		}
	}
}

// SIGUSR1 shows all networks of the host, the managed ones first.
func TestDumpShowsAllNetworks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mamma.conf")
	if err := os.WriteFile(path, []byte("policy \"sample\" {}\nprefix \"10.64.0.0/10\" {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: policies.All()}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	var b strings.Builder
	if err := d.Dump(&b); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "prefixes:") || strings.HasPrefix(line, "interfaces:") || strings.Contains(line, " on ") || strings.Contains(line, ": index ") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		"prefixes: 1, and 5 not managed", "10.64.0.0/10 on wwan0",
		"127.0.0.0/8 on lo, not managed", "192.168.0.0/24 on wlan0, not managed", "172.17.0.0/16 on docker0, not managed",
		"2001:db8:1::/64 on wlan0, not managed", "fe80::/64 on wlan0, not managed",
		"interfaces: 1, and 3 not managed", "wwan0: index 3", "lo: index 1, not managed", "wlan0: index 2, not managed", "docker0: index 4, not managed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\n%s", diff, b.String())
	}
}

// A start and each reload log what --check warns of.
func TestWarningsAreLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mamma.conf")
	configure := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("policy \"sample\" {}\nprefix \"127.0.0.1/8\" {}\ninterface \"192.168.0.7\" {\n  default = true\n  enabled = false\n}\n")
	var logged strings.Builder
	d, err := newDaemon(t.Context(), Options{
		ConfigPath: path, Policies: policies.All(), Log: slog.New(slog.NewTextHandler(&logged, nil)),
	}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	check := func(when string) {
		t.Helper()
		for _, want := range []string{
			"is this host's loopback", "matches no network of this host at the moment; if an address is meant: prefix",
			"is the default and disabled", "no network is the default",
		} {
			if n := strings.Count(logged.String(), want); n != 1 {
				t.Errorf("%s: %q is there %d times:\n%s", when, want, n, logged.String())
			}
		}
		logged.Reset()
	}
	check("start")
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("reload")
	configure("policy \"sample\" {}\ninterface \"wlan0\" {\n  default = true\n}\n")
	if err := d.Reload(t.Context()); err != nil || strings.Contains(logged.String(), "WARN") {
		t.Errorf("mended: %v\n%s", err, logged.String())
	}
}

// A reload that fails has no effect, not even on how the log is written.
func TestFailedReloadTellsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mamma.conf")
	configure := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("policy \"sample\" {}")
	entered, release := make(chan []string, 9), make(chan error, 1)
	var told []slog.Level
	d, err := newDaemon(t.Context(), Options{
		ConfigPath: path, Policies: slow(entered, release), OnConfig: func(cfg *config.Config) { told = append(told, cfg.Log.Level) },
	}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	configure("policy \"slow\" {}\nlog { level = \"debug\" }")
	release <- errors.New("no")
	if err := d.Reload(t.Context()); err == nil {
		t.Fatal("the policy was refused, and the reload succeeded")
	}
	if why, at := d.reloads.failure(); !strings.Contains(why, "no") || at.IsZero() {
		t.Errorf("failed by %q at %v", why, at)
	}
	release <- nil
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []slog.Level{slog.LevelInfo, slog.LevelDebug}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v: of the start, and of the reload that succeeded", told, want)
	}
	if why, _ := d.reloads.failure(); why != "" {
		t.Errorf("failed by %q", why)
	}
}
