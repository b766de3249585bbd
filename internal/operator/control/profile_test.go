package control

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every kind of profile can be read by its tool.
func TestProfile(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes a profile of every kind")
	}
	d := start(t, view(), func(o *Options) { o.Profiling = true })
	c := d.client(t)
	for kind, takesTime := range ProfileKinds() {
		t.Run(kind, func(t *testing.T) {
			var length time.Duration
			if takesTime {
				length = 20 * time.Millisecond
			}
			var b bytes.Buffer
			if err := c.Profile(ctx(t), kind, length, &b); err != nil {
				t.Fatal(err)
			}
			if kind == "trace" {
				if !strings.HasPrefix(b.String(), "go 1.") {
					t.Errorf("no trace: %.20q", b.String())
				}
				return
			}
			file := filepath.Join(t.TempDir(), kind)
			if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("go", "tool", "pprof", "-raw", file).CombinedOutput(); err != nil || !strings.Contains(string(out), "Samples:") {
				t.Errorf("go tool pprof: %v\n%s", err, out)
			}
		})
	}
}

// Profiles are off unless switched on. Only users who may change things get them.
func TestProfileRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		on     bool
		who    peer
		kind   string
		length time.Duration
		status int
		text   string
	}{
		{"off", false, root, "heap", 0, http.StatusNotImplemented, "--profiling"},
		{"control group", true, member, "heap", 0, http.StatusForbidden, "only root"},
		{"stranger", true, stranger, "cpu", time.Second, http.StatusForbidden, "only root"},
		{"off, stranger", false, stranger, "cpu", time.Second, http.StatusForbidden, "only root"},
		{"unknown kind", true, owner, "cmdline", 0, http.StatusNotFound, "known: allocs, block, cpu"},
		{"too long", true, root, "cpu", time.Hour, http.StatusBadRequest, "up to 300"},
		{"no time", true, root, "cpu", -time.Second, http.StatusBadRequest, "above 0"},
		{"takes no time", true, root, "heap", time.Second, http.StatusBadRequest, "takes no time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := start(t, view(), func(o *Options) { o.Profiling = tt.on })
			d.as(tt.who)
			var b bytes.Buffer
			err := d.client(t).Profile(ctx(t), tt.kind, tt.length, &b)
			var re *RemoteError
			if !errors.As(err, &re) || re.Status != tt.status || !strings.Contains(err.Error(), tt.text) || b.Len() > 0 {
				t.Errorf("%v, %d bytes; want status %d", err, b.Len(), tt.status)
			}
		})
	}
}

// logWriter receives what is logged.
type logWriter chan string

func (w logWriter) Write(p []byte) (int, error) {
	select {
	case w <- string(p):
	default:
	}
	return len(p), nil
}

// One profile is taken at a time. A client that leaves ends its profile.
func TestProfileBusy(t *testing.T) {
	logged := make(logWriter, 16)
	d := start(t, view(), func(o *Options) {
		o.Profiling, o.Logger = true, slog.New(slog.NewTextHandler(logged, nil))
	})
	leaving, leave := context.WithCancel(ctx(t))
	ended := make(chan error, 1)
	go func() { ended <- d.client(t).Profile(leaving, "cpu", MaxProfileTime, new(bytes.Buffer)) }()
	for !strings.Contains(<-logged, "kind=cpu") { // which is told once it has its turn
	}
	c := d.client(t)
	heap := func() error { return c.Profile(ctx(t), "heap", 0, new(bytes.Buffer)) }
	var re *RemoteError
	if err := heap(); !errors.As(err, &re) || re.Status != http.StatusConflict {
		t.Errorf("a second profile: %v", err)
	}
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the profile that was left: %v", err)
	}
	for err := heap(); err != nil; err = heap() { // until the server has noticed
		if !errors.As(err, &re) || re.Status != http.StatusConflict {
			t.Fatal(err)
		}
	}
}
