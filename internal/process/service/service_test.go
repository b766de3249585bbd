package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestExitStatus(t *testing.T) {
	mistake := errors.New("unknown flag: --no")
	for _, tt := range []struct {
		name   string
		err    error
		status int
		said   string
	}{
		{"well", nil, StatusOK, ""},
		{"an error", io.ErrUnexpectedEOF, StatusError, "prog: unexpected EOF\n"},
		{"wrong usage", Usage(mistake), StatusUsage, "prog: unknown flag: --no\nTry \"prog --help\".\n"},
		{"wrapped", fmt.Errorf("flags: %w", Usage(mistake)), StatusUsage, "prog: flags: unknown flag: --no\nTry \"prog --help\".\n"},
		{"no wrong usage", Usage(nil), StatusOK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said bytes.Buffer
			if status := ExitStatus("prog", &said, tt.err); status != tt.status || said.String() != tt.said {
				t.Errorf("%d, %q; want %d, %q", status, &said, tt.status, tt.said)
			}
		})
	}
	if !errors.Is(Usage(mistake), mistake) {
		t.Error("the cause is lost")
	}
}

func TestLogFlags(t *testing.T) {
	for _, tt := range []struct {
		flags LogFlags
		want  string // part of the error, "" for none
	}{
		{LogFlags{}, ""},
		{LogFlags{"debug", "json"}, ""},
		{LogFlags{Level: "loud"}, "--log-level"},
		{LogFlags{Format: "xml"}, "--log-format"},
	} {
		err := tt.flags.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.flags, err, tt.want)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	for _, tt := range []struct {
		limit string // in microseconds
		want  time.Duration
		wrong bool
	}{
		{"", 0, false},
		{"30000000", 15 * time.Second, false},
		{"soon", 0, true},
		{"-1", 0, true},
	} {
		t.Setenv("WATCHDOG_USEC", tt.limit)
		if got, err := Heartbeat(); got != tt.want || (err != nil) != tt.wrong {
			t.Errorf("%q: %v, %v; want %v", tt.limit, got, err, tt.want)
		}
	}
}

// The service manager is told when a reload begins and ends, whether it succeeds or
// not.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Close() }()
	if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "level=INFO msg=reloaded"},
		{io.EOF, `level=ERROR msg="not reloaded; all stays" err=EOF`},
	} {
		var out bytes.Buffer
		Reload(slog.New(slog.NewTextHandler(&out, nil)), func() error { return tt.err }, "all stays")
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("logged %q, want %q", &out, tt.want)
		}
		for _, want := range []string{"RELOADING=1", "READY=1"} {
			b := make([]byte, 100)
			if n, err := manager.Read(b); err != nil || string(b[:n]) != want {
				t.Errorf("the service manager heard %q, %v; want %q", b[:n], err, want)
			}
		}
	}
}

// A service manager that does not read delays nobody for ever.
func TestReportsToTheDeaf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	deaf, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for err == nil { // until its queue is full
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = io.WriteString(c, "x")
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	done := make(chan struct{})
	go func() {
		Stopping()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a report waits for ever")
	}
}
