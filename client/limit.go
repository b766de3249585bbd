package client

import (
	"net"
	"sync"
	"time"
)

// limit ends exchanges that take too long. One timer serves all exchanges of a link. It
// goes on running when an exchange is over; when it fires, it looks whether the exchange
// under way has taken too long. With a deadline for each exchange there would be a new
// timer each time, and the runtime would wake a thread to wait for it.
type limit struct {
	mu    sync.Mutex
	due   time.Time // limit of the exchange under way; zero: no exchange
	timer *time.Timer
	fires time.Time // when the timer fires; zero: it is stopped
	turn  int       // number of the exchange under way, or of the next one
	over  bool      // the exchange was interrupted
}

// begin notes that an exchange on nc begins, which must end by due. The result is
// needed for cancel.
func (l *limit) begin(nc net.Conn, due time.Time) (turn int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = due
	if !l.fires.IsZero() && !due.Before(l.fires) {
		return l.turn
	}
	l.fires = due
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(due), func() { l.fire(nc) })
		return l.turn
	}
	l.timer.Reset(time.Until(due))
	return l.turn
}

// again gives an interrupted exchange more time.
func (l *limit) again(nc net.Conn, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true // so that end clears the deadline that is set here
	_ = nc.SetDeadline(due)
}

// cancel interrupts the exchange if it is still under way.
func (l *limit) cancel(nc net.Conn, turn int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn == turn {
		l.over = true
		interrupt(nc)
	}
}

// end notes that the exchange is over. An interruption that comes later does not reach
// the next exchange.
func (l *limit) end(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = time.Time{}
	l.turn++
	if l.over {
		l.over = false
		_ = nc.SetDeadline(time.Time{})
	}
}

func (l *limit) fire(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fires = time.Time{}
	switch wait := time.Until(l.due); {
	case l.due.IsZero():
	case wait > 0:
		l.fires = l.due
		l.timer.Reset(wait)
	default:
		l.over = true
		interrupt(nc)
	}
}

// stop ends the timer, when the link is closed.
func (l *limit) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// interrupt makes reads and writes on nc fail with os.ErrDeadlineExceeded, also those
// that are blocked.
func interrupt(nc net.Conn) { _ = nc.SetDeadline(time.Unix(1, 0)) }
