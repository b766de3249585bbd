package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/page", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("hello"))
	}))
	defer srv.Close()
	none := filepath.Join(t.TempDir(), "none")
	file := filepath.Join(t.TempDir(), "out")
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"--socket", none, "--output", file, "--intent", "category=query", srv.URL}, &out, &log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"200 OK, 5 bytes in ", "network  127.0.0.1", "by the kernel, without the manager"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, &out)
		}
	}
	if n := strings.Count(log.String(), "without the Multi Access Manager"); n != 1 {
		t.Errorf("said so %d times:\n%s", n, &log)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "hello" {
		t.Errorf("content %q (%v)", b, err)
	}
}

func TestRunErrors(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b"}, {"--intent", "colour=red", "http://localhost"}, {"--nonsense"}, {"--socket", "/nonexistent", "http://127.0.0.1:1/"}} {
		if err := run(t.Context(), args, new(bytes.Buffer), new(bytes.Buffer)); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	var usage bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, new(bytes.Buffer), &usage); err != nil || !strings.Contains(usage.String(), "category=bulktransfer") {
		t.Errorf("--help: %v, %q", err, &usage)
	}
}
