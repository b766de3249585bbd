//go:build unix

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/client/clienttest"
)

// discard accepts connections, sends 1000 bytes on each and reads all.
func discard(t *testing.T) (port string, received chan int64) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	received = make(chan int64, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = nc.Write(make([]byte, 1000))
			n, _ := io.Copy(io.Discard, nc)
			_ = nc.Close()
			received <- n
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port, received
}

func TestRun(t *testing.T) {
	port, received := discard(t)
	d := clienttest.Start(t, clienttest.From("127.0.0.2"))
	log, local := filepath.Join(t.TempDir(), "log"), freePort(t)
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		sent   int64  // -1: not connected
		out    string // "!" in front: must not be there
	}{
		{"by name", []string{"-h", "www.example.test", "-p", port, "-C", "QUERY", "-F", "4096"}, 0, 0, "suggested            127.0.0.2:0"},
		{"by address", []string{"-a", "127.0.0.1", "-p", port}, 0, 0, "remote               127.0.0.1:" + port},
		{"upload", []string{"-a", "127.0.0.1", "-p", port, "-F", "5000", "-U", "-D", "--filesize", "900", "-l", log}, 0, 900, "filesize=84030000"},
		{"resolve only", []string{"-h", "www.example.test", "--resolve-only"}, 0, -1, "Resolve-only mode: not connecting"},
		{"resolve only, context", []string{"-h", "www.example.test", "--resolve-only"}, 0, -1, "--- context after the resolve request\n"},
		{"connect only", []string{"-h", "localhost", "-p", port, "--connect-only", "--ipversion", "4"}, 0, 0, "host                 \n"},
		{"quiet, contexts", []string{"-q", "-a", "127.0.0.1", "-p", port}, 0, 0, "!--- context"},
		{"quiet, steps", []string{"-q", "-a", "127.0.0.1", "-p", port}, 0, 0, "Remote address to connect to: 127.0.0.1:" + port + "\nSending a connect request to the manager\nConnection successful\n"},
		{"by address, unresolved", []string{"-q", "-a", "127.0.0.1", "-p", port}, 0, 0, "!resolve request"},
		{"by address, resolve only", []string{"-a", "127.0.0.1", "-p", port, "--resolve-only"}, 0, -1, "!Connection successful"},
		{"by name, resolved", []string{"-q", "-h", "www.example.test", "-p", port}, 0, 0, "Sending a resolve request to the manager\n"},
		{"not verbose", []string{"--verbose=false", "-a", "127.0.0.1", "-p", port}, 0, 0, "!--- context"},
		{"local port", []string{"-a", "127.0.0.1", "-p", port, "--localport", freePort(t)}, 0, 0, "bound                0.0.0.0:"},
		{"local port, resolved first", []string{"-q", "-a", "127.0.0.1", "-p", port, "--localport", local}, 0, 0, "Local port " + local + ": doing local name resolution\n"},
		{"refused", []string{"-a", "127.0.0.1", "-p", "1"}, 1, -1, ""},
		{"no such name", []string{"-h", "", "-p", "1"}, 1, -1, ""},
		{"help", []string{"--help"}, 0, -1, "--resolve-only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := run(t.Context(), append(tt.args, "--socket", d.Path), &out, &errs); got != tt.status {
				t.Errorf("status %d, want %d\n%s", got, tt.status, &errs)
			}
			text, absent := strings.CutPrefix(tt.out, "!")
			if strings.Contains(out.String(), text) == absent {
				t.Errorf("output has %q: %v, want %v\n%s", text, !absent, absent, &out)
			}
			if tt.sent >= 0 {
				if got := <-received; got != tt.sent {
					t.Errorf("%d bytes arrived, want %d", got, tt.sent)
				}
			}
		})
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f-]{36},\d+\.\d{3},\d+\.\d{3}\n$`).Match(b) {
		t.Errorf("log is %q", b)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"x"}, {"--nonsense"}, {"-C", "nonsense"}, {"--transport", "SCTP"}, {"--ipversion", "5"}, {"-a", "localhost"},
		{"--resolve-only", "--connect-only"}, {"-p", "65616"},
	} {
		var errs bytes.Buffer
		if got := run(t.Context(), args, io.Discard, &errs); got != 2 || !strings.Contains(errs.String(), "--help") {
			t.Errorf("%q: status %d, %s", args, got, &errs)
		}
	}
}
