package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A person who starts mamma and asks it at once gets an answer, wherever the daemon
// makes its socket. If none comes, the error follows after a moment.
func TestDaemonThatStarts(t *testing.T) {
	dir := t.TempDir()
	begin := func(patience time.Duration) (code int, errs string) {
		var out, err bytes.Buffer
		env := map[string]string{"XDG_RUNTIME_DIR": dir}
		a := &app{in: strings.NewReader(""), out: &out, err: &err, getenv: func(k string) string { return env[k] }, location: time.UTC, patience: patience}
		code = a.run(t.Context(), []string{"prefixes", "--json"})
		return code, err.String()
	}
	if code, errs := begin(30 * time.Millisecond); code != exitNoDaemon || !strings.Contains(errs, "you run none of your own") {
		t.Errorf("none comes: exit code %d, %s", code, errs)
	}
	type result struct {
		code int
		errs string
	}
	done := make(chan result)
	go func() {
		code, errs := begin(time.Minute)
		done <- result{code, errs}
	}()
	path := filepath.Join(dir, "mamma", "control.sock")
	l := listenLate(t, path)
	s := &http.Server{Handler: newFake(), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	if r := <-done; r.code != exitOK || r.errs != "" {
		t.Errorf("it comes: exit code %d, %s", r.code, r.errs)
	}
}

// listenLate listens at a path whose directory does not exist yet.
func listenLate(t *testing.T, path string) net.Listener {
	t.Helper()
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
