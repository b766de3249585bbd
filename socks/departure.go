package socks

import (
	"errors"
	"net"
	"sync"
	"time"
)

// errLeft ends a request whose client has not waited for the reply.
var errLeft = errors.New("the client left before it was connected")

// defaultWatchAfter is how long a request is under way before its client is
// looked at. Most are served sooner, and pay a timer only.
const defaultWatchAfter = 200 * time.Millisecond

// watch calls leave if the client goes, until stop is called. stop tells whether the
// client went. A client that ends its direction without having sent anything for the
// destination has gone. A client that has sent something may just have sent all of
// its part. watch does not read what the client sends. It changes the read deadline.
func (c *conn) watch(early []byte, leave func()) (stop func() bool) {
	if len(early) > 0 {
		return func() bool { return false }
	}
	w := &departure{}
	timer := time.AfterFunc(c.cfg.watchAfter, func() { w.run(c.Conn, leave) })
	return func() bool {
		if timer.Stop() {
			return false // it did not even begin
		}
		return w.end(c.Conn)
	}
}

// departure is the state of a watch.
type departure struct {
	mu      sync.Mutex
	ended   bool
	running chan struct{} // closed when run returns; nil if it did not begin
	gone    bool          // to be read after that
}

func (w *departure) run(nc net.Conn, leave func()) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return
	}
	w.running = make(chan struct{})
	_ = nc.SetReadDeadline(time.Time{}) // that of the handshake
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
		_ = nc.SetReadDeadline(time.Unix(1, 0)) // wakes it
	}
	w.mu.Unlock()
	if running == nil {
		return false
	}
	<-running
	return w.gone
}
