package mam

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// syncBuffer is a buffer that the server writes while the test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.b.String(), "\n"), "\n")
}

// If asked for, messages of clients and of the daemon are logged: decoded, in order,
// with their senders. Answers are logged before they are sent, so all lines are there
// when the answers are.
func TestTrace(t *testing.T) {
	var out syncBuffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d := start(t, host(takeFirst), Options{Trace: true, Logger: log})
	c := d.dial(t)
	c.ask(connectTo("192.0.2.1:80"))
	// This address has no known family. The request is answered, and logged with what
	// is wrong.
	if _, err := c.Write(slices.Concat(tlv(1, 0, 0, 0, 0), tlv(0x25, make([]byte, 16)...), make([]byte, 12))); err != nil {
		t.Fatal(err)
	}
	c.read()
	var got []string
	for _, l := range out.lines() {
		if strings.Contains(l, " message.action=") {
			got = append(got, l)
		}
	}
	for i, want := range [][]string{
		{"level=DEBUG msg=request connection=", " uid=", " pid=", "message.action=connect_req", "message.remote_sa=192.0.2.1:80"},
		{"level=DEBUG msg=answer connection=", "message.action=connect_resp", "message.ctxid=", "message.bind_sa_res=10.", "message.remote_sa=192.0.2.1:80"},
		{"msg=request", "message.action=connect_req", "err=\"bad remote_sa: "},
		{"msg=answer", "message.action=error_unknown_request"},
	} {
		for _, part := range want {
			if i >= len(got) || !strings.Contains(got[i], part) {
				t.Errorf("line %d: no %q in\n%s", i, part, strings.Join(got, "\n"))
				break
			}
		}
	}
	if len(got) != 4 {
		t.Errorf("%d lines, want 4", len(got))
	}
}

// Otherwise nothing of the messages is logged.
func TestNoTrace(t *testing.T) {
	var out syncBuffer
	d := start(t, host(takeFirst), Options{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	d.dial(t).ask(connectTo("192.0.2.1:80"))
	if got := strings.Join(out.lines(), "\n"); strings.Contains(got, "192.0.2.1") || strings.Contains(got, "message.") {
		t.Error(got)
	}
}

// If debug messages are not wanted, logging a message costs nothing.
func BenchmarkTraceOff(b *testing.B) {
	c := &conn{m: New(Options{Trace: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}), ctx: context.Background()}
	m := &wire.Message{Action: wire.ActionConnectRequest}
	b.ReportAllocs()
	for b.Loop() {
		c.trace("request", m, nil)
	}
}
