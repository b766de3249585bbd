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
	due   time.Time // of the exchange under way; zero: none
	timer *time.Timer
	fires time.Time // zero: the timer does not run
	turn  int       // of the exchange under way or the next one
	over  bool      // it was interrupted
}

// begin notes that an exchange on nc begins, and when it must have ended. The result is
// for cancel.
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

// again gives the exchange under way more time, after it was interrupted.
func (l *limit) again(nc net.Conn, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true // what is set here is taken back at the end
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

// end notes that the exchange is over. An interruption that comes too late for it does
// not interrupt the next one.
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

// interrupt has reads and writes that block on nc fail with os.ErrDeadlineExceeded.
func interrupt(nc net.Conn) { _ = nc.SetDeadline(time.Unix(1, 0)) }
