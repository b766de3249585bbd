package mam

import (
	"io"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// Requests that came in one piece are answered in their order. The answers of reports that
// are followed by a further whole request are written together with the next answer.
func TestRequestsInOnePiece(t *testing.T) {
	const report, connect, networks = wire.ActionReportRequest, wire.ActionConnectRequest, wire.ActionNetworksRequest
	for _, tt := range []struct {
		name   string
		asked  []wire.Action
		before string // what is sent after them, of a request that is not whole
		first  int    // answers in the first piece
	}{
		{"one report", []wire.Action{report}, "", 1},
		{"eight reports", []wire.Action{report, report, report, report, report, report, report, report}, "", 8},
		{"a report, and the beginning of another", []wire.Action{report, report}, "\x01\x00\x00\x00\x04", 2},
		{"a report before a request", []wire.Action{report, report, connect}, "", 2},
		{"a report between requests", []wire.Action{connect, report, report}, "", 1},
		{"a report before a request for the networks", []wire.Action{report, networks}, "", 1},
		{"reports around what is not a request", []wire.Action{report, report, wire.ActionErrorUnknownRequest, report}, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, host(sampling), Options{}).dial(t)
			var b []byte
			for _, a := range tt.asked {
				m := &wire.Message{Action: a, Features: everything}
				if a == connect {
					m = connectTo("192.0.2.1:80")
					m.Features = everything
				}
				var err error
				if b, err = m.Append(b); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Write(append(b, tt.before...)); err != nil {
				t.Fatal(err)
			}
			pieces := &counted{r: c}
			c.r.Reset(pieces)
			for i, a := range tt.asked {
				want := map[wire.Action]wire.Action{
					report: wire.ActionReportResponse, connect: wire.ActionConnectResponse, networks: wire.ActionNetworksResponse,
					wire.ActionErrorUnknownRequest: wire.ActionErrorUnknownRequest,
				}[a]
				if got := c.read(); got.Action != want {
					t.Errorf("answer %d: %v, want %v", i, got.Action, want)
				}
				if i < tt.first && pieces.n != 1 {
					t.Errorf("answer %d came in piece %d, want 1", i, pieces.n)
				}
			}
		})
	}
}

// A client that sends reports and goes away, or sends something without sense after them,
// has its answers all the same.
func TestReportsBeforeTheEnd(t *testing.T) {
	for _, tt := range []struct{ name, behind string }{
		{"end", ""},
		{"no message", "\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, host(sampling), Options{}).dial(t)
			m := &wire.Message{Action: wire.ActionReportRequest, Features: everything}
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err = m.Append(b); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(append(b, tt.behind...)); err != nil {
				t.Fatal(err)
			}
			if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := c.read(); got.Action != wire.ActionReportResponse {
					t.Errorf("answered %v", got.Action)
				}
			}
			if err := c.r.Read(m); err == nil {
				t.Errorf("answered %v", m.Action)
			}
		})
	}
}

// counted counts the pieces that were read.
type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	c.n++
	return c.r.Read(b)
}
