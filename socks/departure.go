package socks

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errLeft is the error of a request whose client left before the reply.
var errLeft = errors.New("the client left before it was connected")

// defaultWatchAfter is how long a request lasts before the proxy begins to watch its
// client. Most requests are over sooner and cost no more than an entry in a list.
const defaultWatchAfter = 200 * time.Millisecond

// watch calls leave if the client leaves while its request is being served. The caller
// must call stop of the result, which ends the watch and tells whether the client left.
//
// early is what the client has sent for the destination so far. A client that sent
// nothing and closes its direction has left. A client that did send something may have
// sent everything that it has to say, so it is not watched.
//
// watch does not read what the client sends, but changes the read deadline.
func (c *conn) watch(early []byte, leave func()) *departure {
	w := &departure{conn: c, leave: leave}
	if len(early) == 0 {
		c.s.patrol.add(w)
	}
	return w
}

// departure is the state of a watch.
type departure struct {
	conn  *conn
	leave func()
	slow  func()    // called when the watch begins; may be nil
	due   time.Time // when the watch begins; zero: never

	mu      sync.Mutex
	ended   bool
	running chan struct{} // closed when run returns; nil if run did not begin
	gone    bool          // the client left; may be read once running is closed
}

// stop ends the watch and tells whether the client left.
func (w *departure) stop() (gone bool) {
	if w.conn.s.patrol.remove(w) || w.due.IsZero() {
		return false // the watch never began
	}
	return w.end(w.conn.Conn)
}

// begun tells, after stop, whether the watch began. It has then changed the deadline.
func (w *departure) begun() bool { return w.running != nil }

func (w *departure) run() {
	nc := w.conn.Conn
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.running = make(chan struct{})
	_ = nc.SetReadDeadline(time.Time{}) // the deadline of the handshake must not end the watch
	w.mu.Unlock()
	defer close(w.running)
	if w.slow != nil {
		w.slow()
	}
	if w.gone = waitGone(nc); w.gone {
		w.leave()
	}
}

func (w *departure) end(nc net.Conn) (gone bool) {
	w.mu.Lock()
	w.ended = true
	running := w.running
	if running != nil {
		_ = nc.SetReadDeadline(time.Unix(1, 0)) // wakes run
	}
	w.mu.Unlock()
	if running == nil {
		return false
	}
	<-running
	return w.gone
}

// patrol starts watches when they are due. One timer serves all of them, because
// setting a timer wakes a sleeping thread, and nearly all watches end before they are
// due. The zero value is ready to use.
type patrol struct {
	mu      sync.Mutex
	waiting map[*departure]struct{}
	timer   *time.Timer // nil until the first watch
	next    time.Time   // when timer fires; zero: timer is not set
}

// add makes the watch w begin when it is due. It returns false if w is never due.
func (p *patrol) add(w *departure) bool {
	after := w.conn.cfg.watchAfter
	if after == forever {
		return false
	}
	w.due = time.Now().Add(after)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[*departure]struct{}{}
	}
	p.waiting[w] = struct{}{}
	if p.next.IsZero() || w.due.Before(p.next) {
		p.setLocked(w.due)
	}
	return true
}

func (p *patrol) setLocked(due time.Time) {
	p.next = due
	if p.timer == nil {
		p.timer = time.AfterFunc(time.Until(due), p.round)
		return
	}
	p.timer.Reset(time.Until(due))
}

// remove takes w from the list. It tells whether w was still there, which means that it
// has not begun.
func (p *patrol) remove(w *departure) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.waiting[w]
	delete(p.waiting, w)
	return ok
}

// round starts the watches that are due, and sets the timer for the others.
func (p *patrol) round() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = time.Time{}
	var next time.Time
	now := time.Now()
	for w := range p.waiting {
		switch {
		case !now.Before(w.due):
			delete(p.waiting, w)
			go w.run()
		case next.IsZero() || w.due.Before(next):
			next = w.due
		}
	}
	if !next.IsZero() {
		p.setLocked(next)
	}
}
