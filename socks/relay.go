package socks

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// relay moves bytes both ways until both directions have ended, and closes both
// connections. The end of one direction is passed on as such. If one connection
// breaks, relay resets the other one, but only after all bytes received from the first
// have arrived there. An earlier reset would make the kernel drop bytes that it has
// yet to send; without a proxy, the reset would have come after the data.
func (ss *Session) relay(remote net.Conn, early []byte) error {
	c := ss.c
	r := &relay{ss: ss, client: side{conn: c.Conn}, remote: side{conn: remote}}
	r.mu.Lock()
	r.timer = time.AfterFunc(c.cfg.Idle, r.idle)
	r.mu.Unlock()
	defer r.timer.Stop()

	var down sync.WaitGroup
	down.Go(func() {
		r.direction(flow{s: ss.s, r: r, dst: &r.client, src: &r.remote, n: &ss.received}, nil)
	})
	r.direction(flow{s: ss.s, r: r, dst: &r.remote, src: &r.client, n: &ss.sent}, early)
	down.Wait()
	if r.failure() != nil {
		// Closing with bytes unread makes the kernel send a reset at once.
		r.drain(&r.client)
		r.drain(&r.remote)
	}
	_ = remote.Close()
	_ = c.Close()
	return r.failure()
}

// relay is the state that both directions share.
type relay struct {
	ss             *Session
	client, remote side

	drained atomic.Int64 // bytes that were waited for

	mu    sync.Mutex
	timer *time.Timer
	half  bool  // one direction has ended
	over  bool  // both connections were reset
	err   error // the first
	seen  int64 // bytes in both directions when the timer last fired
}

// side is one of the two connections.
type side struct {
	conn net.Conn

	writing sync.Mutex // held while something is written to it, and for failed
	failed  error      // of writing
}

// direction moves bytes until there are no more, and passes on how it ended.
func (r *relay) direction(f flow, early []byte) {
	var err error
	if len(early) > 0 {
		err = f.write(early)
	}
	if err == nil {
		err = f.copy()
	}
	if err == nil {
		err = f.end()
	}
	r.ended(err)
	if err == nil || f.dst.broken() != nil {
		// What the destination had sent before it broke is on its way back:
		// the other direction ends by itself.
		return
	}
	r.drain(f.dst)
	reset(f.dst.conn)
}

// ended takes the result of a direction.
func (r *relay) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.half = true
	if r.err == nil {
		r.err = err
	}
	if !r.over {
		r.timer.Reset(r.ss.c.cfg.HalfClosed)
	}
}

func (r *relay) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// idle runs when the connection may have been idle for too long.
func (r *relay) idle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := r.ss.c.cfg.Idle
	if r.half {
		limit = min(limit, r.ss.c.cfg.HalfClosed)
	}
	// This only checks whether something moved since the last check. The time-out
	// may therefore be up to twice as long, and relaying bytes costs nothing extra.
	if moved := r.ss.Sent() + r.ss.Received() + r.drained.Load(); moved != r.seen {
		r.seen = moved
		r.timer.Reset(limit)
		return
	}
	r.over = true
	if r.err == nil {
		r.err = errIdle
	}
	reset(r.client.conn)
	reset(r.remote.conn)
}

// How often the kernel is asked whether all has arrived; it does not tell by
// itself.
const (
	drainLookFirst = time.Millisecond
	drainLookLater = 50 * time.Millisecond
)

// drain waits until the peer's kernel has all that was written to a connection,
// or until the connection is gone: the peer's doing, or the time-out's.
func (r *relay) drain(to *side) {
	last, err := unacknowledged(to.conn)
	for wait := drainLookFirst; err == nil && last > 0; wait = min(2*wait, drainLookLater) {
		select {
		case <-time.After(wait):
		case <-r.ss.s.ctx.Done():
			return
		}
		var n int
		n, err = unacknowledged(to.conn)
		r.drained.Add(int64(max(0, last-n)))
		last = n
	}
}

// broken tells why writing to the connection failed, nil if it did not.
func (s *side) broken() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.failed
}

// flow is one direction.
type flow struct {
	s        *Server
	r        *relay
	dst, src *side
	n        *atomic.Int64
}

// rawConn is a connection that can be read by its descriptor.
type rawConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// copy moves bytes until the end of src. Bytes that were read are written before
// anything else happens.
func (f flow) copy() error {
	if src, ok := f.src.conn.(rawConn); ok {
		return f.copyRaw(src)
	}
	return f.copyPlain()
}

// end passes on the end of src, unless that was none.
func (f flow) end() error {
	// The kernel reports a reset once. If it has reported the reset to the direction
	// that writes to src, the direction that reads from src sees an orderly end. EPIPE
	// on a write shows that src was reset after its end.
	if hungUp(f.src.conn) {
		if err := f.src.broken(); err != nil && !errors.Is(err, syscall.EPIPE) {
			return err
		}
	}
	if w, ok := f.dst.conn.(interface{ CloseWrite() error }); ok {
		// The peer may have closed already, having got all that it wanted.
		if err := w.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			return err
		}
		return nil
	}
	return f.dst.conn.Close()
}

// copyPlain serves what has no descriptor.
func (f flow) copyPlain() error {
	b := f.s.bytes.buffer()
	defer f.s.bytes.putBuffer(b)
	for {
		n, err := f.src.conn.Read(b[:])
		if n > 0 {
			if err := f.write(b[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF { //nolint:errorlint // as the contract of io.Reader has it
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (f flow) write(b []byte) error {
	f.dst.writing.Lock()
	n, err := f.dst.conn.Write(b)
	if err != nil {
		f.dst.failed = err
	}
	f.dst.writing.Unlock()
	f.n.Add(int64(n))
	return err
}
