package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/mam"
)

// realControl serves the control socket of a manager without clients.
func realControl(t *testing.T, profiling bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := unixsocket.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	m := mam.New(mam.Options{})
	m.Publish(&mam.View{})
	s := control.New(control.Options{Manager: m, Profiling: profiling})
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), net.Listener(l)) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestProfile(t *testing.T) {
	path := realControl(t, true)
	file := filepath.Join(t.TempDir(), "cpu.pprof")
	code, out, errs := mammactl(t.Context(), path, "profile", "cpu", "--for", "20ms", "-o", file)
	b, err := os.ReadFile(file)
	if code != exitOK || out != "" || errs != "" || err != nil || http.DetectContentType(b) != "application/x-gzip" {
		t.Errorf("exit status %d, %q, %q; %d bytes, %v", code, out, errs, len(b), err)
	}
	code, out, errs = mammactl(t.Context(), path, "profile", "heap")
	if code != exitOK || http.DetectContentType([]byte(out)) != "application/x-gzip" || errs != "" {
		t.Errorf("to standard output: exit status %d, %q, %q", code, out, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// If no profile can be taken, an existing file is kept.
func TestProfileOff(t *testing.T) {
	path := realControl(t, false)
	file := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := mammactl(t.Context(), path, "profile", "cpu", "-o", file)
	if want := "mammactl: profiling is off; mamma --profiling switches it on\n"; code != exitError || errs != want {
		t.Errorf("exit status %d, %q", code, errs)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "kept" {
		t.Errorf("%q, %v", b, err)
	}
}

// The command can be interrupted while it waits for a reader of the FIFO that it must
// write to.
func TestOpenOutput(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	end()
	if f, err := openOutput(ctx, fifo, os.O_WRONLY|os.O_CREATE|os.O_TRUNC); f != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", f, err)
	}
	// This lets the open return that still waits, or is about to; what it opened is closed.
	reader, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if b, err := io.ReadAll(reader); len(b) > 0 || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
