package socks

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errLeft ends a request whose client went before the reply.
var errLeft = errors.New("the client left before it was connected")

// defaultWatchAfter is how long a request is under way before its client is
// watched. Most requests are served sooner and cost no more than a timer.
const defaultWatchAfter = 200 * time.Millisecond

// watch calls leave if the client goes while its request is served. The caller must
// call stop, which ends the watch and tells whether the client went.
//
// early is what the client has sent for the destination so far. A client that sent
// nothing and ends its direction has gone. One that did send something may only
// have sent all that it has to say, so it is not watched.
//
// watch reads nothing of what the client sends, but changes the read deadline.
func (c *conn) watch(early []byte, leave func()) (stop func() bool) {
	if len(early) > 0 {
		return func() bool { return false }
	}
	w := &departure{}
	timer := time.AfterFunc(c.cfg.watchAfter, func() { w.run(c.Conn, leave) })
	return func() bool {
		if timer.Stop() {
			return false // the watch had not begun
		}
		return w.end(c.Conn)
	}
}

// departure is the state of a watch.
type departure struct {
	mu      sync.Mutex
	ended   bool
	running chan struct{} // closed when run returns; nil if run did not begin
	gone    bool          // the client went; to be read after running is closed
}

func (w *departure) run(nc net.Conn, leave func()) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.running = make(chan struct{})
	_ = nc.SetReadDeadline(time.Time{}) // the deadline of the handshake does not end the watch
	w.mu.Unlock()
	defer close(w.running)
	if w.gone = waitGone(nc); w.gone {
		leave()
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
