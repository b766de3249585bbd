package daemon

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/config"
)

// A service manager makes the sockets: what mamma made in a /tmp of its own would
// be where no client looks, and nobody would know why.
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
	// A path that somebody asked for must be had.
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
