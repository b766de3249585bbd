package mam

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
)

// told is a log that sends each of its lines.
type told chan string

func (l told) Write(b []byte) (int, error) {
	l <- string(bytes.TrimSpace(b))
	return len(b), nil
}

func TestPlainDials(t *testing.T) {
	lines := make(told, 16)
	d := start(t, host(takeFirst), Options{Logger: slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	c := d.dial(t)
	req := socketConnectTo("four.test", "443")
	req.Features, req.PlainDials = everything, &wire.PlainDials{Late: 3, LeftAlone: 2, Absent: 1}
	if got := c.ask(req); got.PlainDials != nil || got.Features&wire.FeaturePlainDials == 0 {
		t.Errorf("plain dials %v, features %v", got.PlainDials, got.Features)
	}
	if line := <-lines; !strings.Contains(line, "without mamma") || !strings.Contains(line, "late=3 left_alone=2 absent=1 failed=0") {
		t.Errorf("logged %s", line)
	}
	// A client without anything else to send reports its plain dials with an empty
	// report.
	report := &wire.Message{Action: wire.ActionReportRequest, Features: everything, PlainDials: &wire.PlainDials{Late: 1, Failed: 4}}
	if got := c.ask(report); got.Action != wire.ActionReportResponse {
		t.Errorf("answered by %v", got.Action)
	}
	report.PlainDials = &wire.PlainDials{}
	c.ask(report)
	want := PlainDials{Late: 4, LeftAlone: 2, Absent: 1, Failed: 4}
	if got := d.PlainDials(); got != want || got.Told() != 11 {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// A decision counts as unread if the client has left before it read the answer. Other
// answers, and answers that were read, do not count.
func TestUnreadDecisions(t *testing.T) {
	lines := make(told, 16)
	d := start(t, host(takeFirst), Options{Logger: slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	report := &wire.Message{Action: wire.ActionReportRequest, Features: everything, DecisionID: uuid.New(), Outcome: &wire.Outcome{}}
	for _, tt := range []struct {
		name   string
		req    *wire.Message
		unread uint64
	}{
		{"a decision", connectTo("192.0.2.1:443"), 1},
		{"a report", report, 1},
		{"another decision", socketConnectTo("four.test", "443"), 2},
	} {
		c := d.dial(t)
		b, err := tt.req.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // the answer has arrived, and is not read
			t.Fatal(err)
		}
		_ = c.Close()
		if line := <-lines; !strings.Contains(line, "client dropped") {
			t.Errorf("%s: logged %s", tt.name, line)
		}
		if got := d.PlainDials().Unread; got != tt.unread {
			t.Errorf("%s: %d unread, want %d", tt.name, got, tt.unread)
		}
	}
}
