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
	over  bool      // an exchange was interrupted: nc is of no more use
}

// begin says until when the exchange on nc that begins now may take.
func (l *limit) begin(nc net.Conn, due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = due
	if !l.fires.IsZero() && !due.Before(l.fires) {
		return
	}
	l.fires = due
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(due), func() { l.fire(nc) })
		return
	}
	l.timer.Reset(time.Until(due))
}

// end says that the exchange is over, and tells whether it was in time.
func (l *limit) end() (inTime bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = time.Time{}
	return !l.over
}

// resume says that what was interrupted can go on.
func (l *limit) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = false
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
