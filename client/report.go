package client

import (
	"context"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// A report costs both processes as much as a decision, and would compete with
	// what the new connection is wanted for. Those that nothing waits for go
	// together, a moment later.
	reportDelay = 20 * time.Millisecond
	maxReports  = 128 // that wait; half of them do not wait for more
)

// unhurried are the intents of what nobody waits for.
var unhurried = intent.Set{}.WithTimeliness(intent.TimelinessBackgroundTraffic)

// report sends outcomes in the background, as long as the daemon keeps up: at
// once, or, if nothing waits for them, a moment later.
func (d *Daemon) report(later bool, outcomes ...*wire.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reportLocked(later, outcomes...)
}

func (d *Daemon) reportLocked(later bool, outcomes ...*wire.Message) {
	d.reports = append(d.reports, outcomes[:min(len(outcomes), maxReports-len(d.reports))]...)
	switch {
	case len(d.reports) == 0, d.reporting:
	case !later, len(d.reports) >= maxReports/2:
		d.startReporting()
	case d.deferred:
	case d.reportTimer == nil:
		d.deferred = true
		d.reportTimer = time.AfterFunc(reportDelay, d.reportNow)
	default:
		d.deferred = true
		d.reportTimer.Reset(reportDelay)
	}
}

// reportNow sends what was deferred.
func (d *Daemon) reportNow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deferred = false
	if len(d.reports) > 0 && !d.reporting {
		d.startReporting()
	}
}

// Flush sends the reports that wait, of connections made or given up so far, and
// returns when the daemon has them, or with the error of ctx. A program that ends
// just after it has connected calls it, or the manager does not learn how that went.
// What the daemon does not take in time is lost, which is no error.
func (d *Daemon) Flush(ctx context.Context) error {
	d.mu.Lock()
	if d.deferred {
		d.reportTimer.Stop()
		d.deferred = false
	}
	if len(d.reports) > 0 && !d.reporting {
		d.startReporting()
	}
	sent := d.sent
	if !d.reporting {
		sent = nil
	}
	d.mu.Unlock()
	if sent == nil {
		return nil
	}
	select {
	case <-sent: // each report has its deadline
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Daemon) startReporting() {
	d.reporting = true
	d.sent = make(chan struct{})
	d.reporter.Go(d.sendReports)
}

func (d *Daemon) sendReports() {
	var ans wire.Message
	for {
		d.mu.Lock()
		if len(d.reports) == 0 {
			d.reporting = false
			close(d.sent)
			d.mu.Unlock()
			return
		}
		m := d.reports[0]
		d.reports = d.reports[1:]
		d.mu.Unlock()
		// Nobody can do anything about a report that does not get through.
		_, _ = d.ask(context.Background(), question{request: func(wire.Features) *wire.Message { return m }, intents: unhurried}, &ans)
	}
}
