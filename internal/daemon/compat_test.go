package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policies"
)

// If a service manager makes the sockets, mamma does not make the original's. In a /tmp of
// its own, no client would find them, and nobody would know why.
func TestOriginalsBesideHandedSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "muacc")
	socket := func(name string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	request, compat := socket("request"), socket("compat")
	for _, tt := range []struct {
		name   string
		handed Handed
		cfg    config.Config
		want   string // the path listened at
		logged string
	}{
		{"nobody asked", Handed{Request: request}, config.Config{CompatSocket: path, CompatAssumed: true}, "", "enable mamma-compat.socket"},
		{"the file asks", Handed{Request: request}, config.Config{CompatSocket: path}, path, ""},
		{"handed over", Handed{Request: request, Compat: compat}, config.Config{CompatSocket: path, CompatAssumed: true}, compat.Addr().String(), ""},
		{"not as a service", Handed{}, config.Config{CompatSocket: path, CompatAssumed: true}, path, ""},
		{"switched off", Handed{}, config.Config{}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logged, printed strings.Builder
			l, err := listenForOriginals(tt.handed, &tt.cfg, slog.New(slog.NewTextHandler(&logged, nil)))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if l != nil {
				got = l.Path()
				defer func() { _ = l.Close() }()
			}
			if got != tt.want {
				t.Errorf("listens at %q, want %q", got, tt.want)
			}
			if !strings.Contains(logged.String(), tt.logged) || tt.logged == "" && logged.Len() > 0 {
				t.Errorf("logged %q, want %q", logged.String(), tt.logged)
			}
			s := requestSockets{path: "/run/m.sock", originals: l}
			if err := s.announce(&printed, &tt.cfg); err != nil {
				t.Fatal(err)
			}
			want := "at " + tt.want
			if tt.want == "" {
				want = "not at " + path
			}
			if tt.cfg.CompatAssumed && !strings.Contains(printed.String(), want+",") || !tt.cfg.CompatAssumed && printed.Len() > 0 {
				t.Errorf("printed %q, want %q", printed.String(), want)
			}
		})
	}
	// A path that somebody asked for is required.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if _, err := listenForOriginals(Handed{}, &config.Config{CompatSocket: path}, log); err == nil {
		t.Error("no error where a file is in the way")
	}
	if l, err := listenForOriginals(Handed{}, &config.Config{CompatSocket: path, CompatAssumed: true}, log); err != nil || l != nil {
		t.Errorf("%v, %v for a path that nobody asked for", l, err)
	}
}

// The original's measurement logs get a line at each interval, even if nothing happens on
// the host.
func TestMeasurementLogsKeepThePace(t *testing.T) {
	const span = 30 * time.Second
	for _, tt := range []struct {
		name, text string
		steady     bool
	}{
		{"none", "policy \"sample\" {}\n", false},
		{"prefixes", "policy \"sample\" {}\nlogs {\n  prefixes = \"p.log\"\n}\n", true},
		{"interfaces", "policy \"sample\" {}\nlogs {\n  interfaces = \"i.log\"\n}\n", true},
		{"original grammar", `policy "policy_sample.so" { set log_prefixes = "p.log"; set log_interfaces = "i.log"; };`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mamma.conf")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				// Without networks, nothing is read from the kernel, and nothing happens.
				d, err := newDaemon(t.Context(), Options{ConfigPath: path, Policies: policies.All()}, newScript(netmon.State{}).watch)
				if err != nil {
					t.Fatal(err)
				}
				defer d.close()
				passes, publish := 0, d.current.publishTo
				d.current.publishTo = func(v *mam.View) { passes++; publish(v) }
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error)
				go func() { done <- d.sampler.Run(ctx) }()
				time.Sleep(span) // of the bubble's time
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("measuring ended: %v", err)
				}
				if all := int(span / d.begun.Sampling.Interval); passes >= all != tt.steady {
					t.Errorf("%d measurements in %v, of %d at the interval; want all: %v", passes, span, all, tt.steady)
				}
			})
		})
	}
}
