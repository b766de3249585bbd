package client

import (
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// That an alternate was answered is told, of the decision; nothing else is worth telling.
func TestReportAnswered(t *testing.T) {
	m := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.7", "127.0.0.8"))
	d := dialer(t, m.Path)
	dec, err := d.Decide(t.Context(), "udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	dec.ReportAnswered(FirstChoice, time.Second)
	dec.ReportAnswered(PlainDial, time.Second)
	dec.ReportAnswered(1, 30*time.Millisecond)
	if err := d.Daemon.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var reports []wire.Outcome
	for _, r := range m.All() {
		if r.Action == wire.ActionReportRequest && r.Outcome != nil {
			reports = append(reports, *r.Outcome)
		}
	}
	if len(reports) != 1 || reports[0] != (wire.Outcome{Candidate: 1, Milliseconds: 30}) {
		t.Errorf("%+v", reports)
	}
}
