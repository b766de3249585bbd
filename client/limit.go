package client

import (
	"net"
	"sync"
	"time"
)

// limit ends exchanges that take too long. One timer serves all exchanges of
// a link: it is left running when one is over, and looks when it fires whether
// another one is due. A deadline for each would be a new timer each time, and the
// runtime wakes a thread to wait for a new timer.
type limit struct {
	mu    sync.Mutex
	due   time.Time // of the exchange under way; zero: none
	timer *time.Timer
	fires time.Time // zero: the timer does not run
	turn  int       // of the exchange under way or the next one
	over  bool      // it was interrupted
}

// begin says until when the exchange on nc that begins now may take. The result
// is for cancel.
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

// end says that the exchange is over. What comes too late to interrupt it does
// nothing to the next one.
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

// interrupt ends what is blocked on nc, with os.ErrDeadlineExceeded.
func interrupt(nc net.Conn) { _ = nc.SetDeadline(time.Unix(1, 0)) }
