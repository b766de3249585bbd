package client

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Reports that nothing waits for are sent together. A report that is sent at once takes
// them along.
func TestReportsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var mu sync.Mutex
		var sent []time.Duration
		d := &Daemon{connect: pipeDaemon(func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Since(begun))
			return 0
		})}
		report := func(later bool) {
			d.report(later, &wire.Message{Action: wire.ActionReportRequest, Outcome: &wire.Outcome{}})
		}
		want := func(what string, n int, at time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(sent) != n || n > 0 && sent[n-1] != at {
				t.Fatalf("%s: sent at %v, want %d, the last at %v", what, sent, n, at)
			}
		}
		report(true)
		time.Sleep(reportDelay / 2)
		report(true)
		want("two wait", 0, 0)
		time.Sleep(reportDelay / 2)
		want("greeting and both", 3, reportDelay)
		report(true)
		report(false)
		want("one that does not wait", 5, reportDelay)
		time.Sleep(reportDelay)
		want("nothing is left for the timer", 5, reportDelay)
		for range maxReports / 2 {
			report(true)
		}
		want("so many do not wait", 5+maxReports/2, 2*reportDelay)
		report(true)
		_ = d.Close()
		time.Sleep(time.Hour)
		want("sent by Close", 5+maxReports/2+1, 2*reportDelay)
		report(true)
		time.Sleep(reportDelay)
		want("after Close, on a new connection", 5+maxReports/2+3, time.Since(begun))
		_ = d.Close()
	})
}

// Close does not wait long for a daemon that takes no reports.
func TestCloseGivesUpReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{connect: pipeDaemon(func() time.Duration { return time.Minute })}
		for range 3 {
			d.report(true, &wire.Message{Action: wire.ActionReportRequest, Outcome: &wire.Outcome{}})
		}
		begun := time.Now()
		_ = d.Close()
		if took := time.Since(begun); took != closeTimeout {
			t.Errorf("Close took %v, want %v", took, closeTimeout)
		}
		time.Sleep(time.Hour) // until the greeting is answered
		_ = d.Close()
	})
}

// A program that ends at once sends its reports first.
func TestFlush(t *testing.T) {
	s := startServer(t)
	hold := make(chan struct{})
	answer := suggest("127.0.0.2")
	var f *fakeDaemon
	f = startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action == wire.ActionReportRequest {
			f.mu.Unlock()
			<-hold
			f.mu.Lock()
		}
		return answer(m)
	})
	d := dialer(t, f.path)
	if err := d.Daemon.Flush(t.Context()); err != nil {
		t.Errorf("with nothing to report: %v", err)
	}
	dialServer(t, d, s, "host.test")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := d.Daemon.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a daemon that takes no reports: %v", err)
	}
	close(hold)
	if err := d.Daemon.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	reports := 0
	for _, m := range f.requests() {
		if m.Action == wire.ActionReportRequest {
			reports++
		}
	}
	if reports != 1 {
		t.Errorf("%d reports", reports)
	}
}
