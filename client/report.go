package client

import (
	"context"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

const (
	// reportDelay is how long reports wait that nobody needs at once, so that several
	// are sent together. A report that is sent alone costs both processes as much as a
	// decision. Sent at once, it would delay the first bytes on the new connection.
	reportDelay = 20 * time.Millisecond
	// maxReports is how many reports may wait; further ones are dropped. At half of it
	// the delay is cut short.
	maxReports = 128
	// reportsAtOnce is how many reports are sent in one piece. Each costs both processes a
	// wake-up and some system calls if it is sent alone, which is many times what it costs
	// otherwise. So many fit what the daemon reads at once.
	reportsAtOnce = 8
	// closeTimeout is how long Close waits for reports. A daemon takes them within a
	// millisecond, a busy one within some.
	closeTimeout = 100 * time.Millisecond
)

// unhurried are the intents of exchanges that nobody waits for.
var unhurried = intent.Set{}.WithTimeliness(intent.TimelinessBackgroundTraffic)

// report sends outcomes in the background: at once, or after reportDelay if later is
// true. If the daemon does not keep up, outcomes are dropped.
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

// reportNow sends the reports whose delay is over.
func (d *Daemon) reportNow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deferred = false
	if len(d.reports) > 0 && !d.reporting {
		d.startReporting()
	}
}

// flushOriginal is how long Flush waits for the original's daemon.
const flushOriginal = 16 * time.Second

// Flush sends the reports that wait. It returns when the daemon has them, or with the
// error of ctx. A program that ends right after it has connected should call Flush or
// Close, so that the manager learns of the result. Reports that the daemon does not take
// in time are lost, which is not an error.
//
// For the daemon of the Socket Intents prototype, Flush also waits for the answers to
// earlier requests, although nobody needs them any more. A program that ends closes its
// connections, and every program of the host depends on that daemon, which must not
// find them closed when it answers. The wait is 16 s at most: the daemon's resolver
// asks a name server three times for 5 s, and some of its policies never answer.
func (d *Daemon) Flush(ctx context.Context) error {
	sent := d.sendNow() // no limit: each report has its own deadline
	d.mu.Lock()
	settled := d.settledLocked()
	d.mu.Unlock()
	var enough <-chan time.Time
	if settled != nil {
		enough = time.After(flushOriginal)
	}
	for _, over := range []<-chan struct{}{sent, settled} {
		if over == nil {
			continue
		}
		select {
		case <-over:
		case <-enough:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sendNow sends the reports that wait. The returned channel is closed when they are
// gone; it is nil if there are none.
func (d *Daemon) sendNow() <-chan struct{} {
	d.tellLeases()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deferred {
		d.reportTimer.Stop()
		d.deferred = false
	}
	if len(d.reports) > 0 && !d.reporting {
		d.startReporting()
	}
	if !d.reporting {
		return nil
	}
	return d.sent
}

func (d *Daemon) startReporting() {
	d.reporting = true
	d.sent = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	d.stopReporting = cancel
	d.reporter.Go(func() {
		defer cancel()
		d.sendReports(ctx)
	})
}

func (d *Daemon) sendReports(ctx context.Context) {
	var ans wire.Message
	for {
		d.mu.Lock()
		if len(d.reports) == 0 {
			d.reporting = false
			close(d.sent)
			d.mu.Unlock()
			return
		}
		n := min(len(d.reports), reportsAtOnce)
		some := d.reports[:n:n]
		d.reports = d.reports[n:]
		d.mu.Unlock()
		// The error is ignored: a lost report cannot be mended.
		_, _ = d.ask(ctx, question{request: func(wire.Features) *wire.Message { return some[0] }, more: some[1:], intents: unhurried}, &ans)
	}
}
