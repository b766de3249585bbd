package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// PlainDials counts the dials that went without the manager, by reason. The manager is
// told of them, too: "mammactl status" shows them for all programs.
type PlainDials struct {
	Late      uint64 // no answer in time
	LeftAlone uint64 // the manager was not asked, because it had not answered in time a moment before
	Absent    uint64 // no manager was there
	Failed    uint64 // anything else, such as a socket of a user who is not trusted
}

// PlainDials tells how many dials by d went without the manager so far. Dials that ask
// for no decision do not count, be it because of DecisionTimeout or because there is
// nothing to decide.
func (d *Daemon) PlainDials() PlainDials {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.plain
}

// lateError is the error of an answer that did not come in time.
type lateError struct {
	waited time.Duration
	err    error
}

func (e *lateError) Error() string {
	return fmt.Sprintf("no answer within %v", e.waited.Round(100*time.Microsecond))
}

func (e *lateError) Unwrap() error { return e.err }

// isLate tells whether an exchange failed because its time was up.
func isLate(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// isAbsent tells whether err means that nobody listens on the socket.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// wentPlain counts a dial that goes without the manager because of err, and tells
// whether it is the first one since the manager was last well.
func (d *Daemon) wentPlain(err error) (first bool) {
	if forbidden(err) || errors.Is(err, errNotResolved) || errors.Is(err, errDisabled) || errors.Is(err, errNotDecided) || errors.Is(err, context.Canceled) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case isAbsent(err):
		d.plain.Absent++
	case errors.Is(err, errBackingOff), errors.Is(err, errLate):
		d.plain.LeftAlone++
	case isLate(err):
		d.plain.Late++
	default:
		d.plain.Failed++
	}
	first = !d.outage
	d.outage = true
	if d.backoff == 0 && len(d.late) == 0 && !isAbsent(err) {
		d.tellLocked() // the late answer has arrived since
	}
	return first
}

// tellLocked sends an empty report, so that the manager learns of plain dials. It does
// nothing if another request has told the manager before.
func (d *Daemon) tellLocked() {
	if d.plain != d.told {
		d.reportLocked(true, &wire.Message{Action: wire.ActionReportRequest})
	}
}

// untold puts plain dials that the manager does not know of into req. If req could not
// be sent, call takeBack.
func (d *Daemon) untold(req *wire.Message) (takeBack func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	req.PlainDials = nil
	if d.plain == d.told {
		return func() {}
	}
	since := func(n, told uint64) uint32 { return uint32(min(n-told, math.MaxUint32)) }
	req.PlainDials = &wire.PlainDials{
		Late: since(d.plain.Late, d.told.Late), LeftAlone: since(d.plain.LeftAlone, d.told.LeftAlone),
		Absent: since(d.plain.Absent, d.told.Absent), Failed: since(d.plain.Failed, d.told.Failed),
	}
	told, now := d.told, d.plain
	d.told = now
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.told == now { // no later request has told the manager more
			d.told = told
		}
	}
}
