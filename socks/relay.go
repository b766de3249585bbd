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

// parkAfter is how long a connection must be idle before its goroutines end. A timer
// fires that often, so the time should not be short.
const parkAfter = 5 * time.Second

// relay moves bytes both ways until both directions have ended. Then it closes both
// connections and calls done, maybe after relay itself has returned. The end of one
// direction is passed on as such. If one connection breaks, relay resets the other one,
// but only after that one has received everything that the first had sent. A reset
// makes the kernel drop unsent bytes; without a proxy, the reset would have come after
// the data.
func (ss *Session) relay(remote net.Conn, early []byte, done func(error)) {
	c := ss.c
	r := &relay{ss: ss, client: side{conn: c.Conn}, remote: side{conn: remote}, done: done, directions: 2, moved: time.Now()}
	r.up = flow{s: ss.s, r: r, dst: &r.remote, src: &r.client, n: &ss.sent}
	r.down = flow{s: ss.s, r: r, dst: &r.client, src: &r.remote, n: &ss.received}
	c.relay.Store(r)
	r.mu.Lock()
	r.timer = time.AfterFunc(min(c.cfg.Idle, c.cfg.parkAfter), r.look)
	r.mu.Unlock()
	go r.down.run(nil)
	r.up.run(early)
}

// relay is the state that both directions share.
type relay struct {
	ss             *Session
	client, remote side
	up, down       flow
	done           func(error)

	drained atomic.Int64 // bytes that drain has seen arrive

	mu         sync.Mutex
	timer      *time.Timer
	directions int       // number of directions that have not ended
	half       bool      // one direction has ended
	over       bool      // both connections were reset
	err        error     // the first error
	seen       int64     // bytes in both directions when the timer last fired
	moved      time.Time // when the timer last found that bytes had moved
	parking    bool      // the directions were asked to give up their goroutines
}

// side is one of the two connections.
type side struct {
	conn net.Conn

	writing sync.Mutex // held during a write to conn; guards failed
	failed  error      // the error of a write; nil: none
}

// run moves bytes until there are no more, and passes the end on. If the connection is
// idle, run returns earlier; resume calls it again when there is something to read.
func (f *flow) run(early []byte) {
	var err error
	if len(early) > 0 {
		err = f.write(early)
	}
	if err == nil {
		err = f.copy()
	}
	if errors.Is(err, errParked) {
		return // another goroutine may run f already
	}
	if err == nil {
		err = f.end()
	}
	r := f.r
	r.ended(err)
	// The other direction ends by itself: it still passes on what the destination sent
	// before it broke.
	if err != nil && f.dst.broken() == nil {
		r.drain(f.dst)
		r.reset(f.dst)
	}
	r.mu.Lock()
	r.directions--
	last := r.directions == 0
	r.mu.Unlock()
	if last {
		r.finish()
	}
}

// finish runs when both directions have ended.
func (r *relay) finish() {
	r.timer.Stop()
	err := r.failure()
	if err != nil {
		// Closing a connection with unread bytes makes the kernel send a reset at once.
		r.drain(&r.client)
		r.drain(&r.remote)
	}
	_ = r.remote.conn.Close()
	_ = r.ss.c.Close()
	r.done(err)
}

// ended notes the result of a direction.
func (r *relay) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.half, r.moved = true, time.Now()
	if !r.over {
		r.timer.Reset(min(r.limitLocked(), r.ss.c.cfg.parkAfter))
	}
}

// limitLocked returns how long the connection may be idle.
func (r *relay) limitLocked() time.Duration {
	if r.half {
		return min(r.ss.c.cfg.Idle, r.ss.c.cfg.HalfClosed)
	}
	return r.ss.c.cfg.Idle
}

func (r *relay) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// look runs when the timer fires. It finds out whether the connection is idle, and for
// how long. The directions only count bytes, so relaying pays nothing for this.
func (r *relay) look() {
	r.mu.Lock()
	now, limit := time.Now(), r.limitLocked()
	if moved := r.ss.Sent() + r.ss.Received() + r.drained.Load(); moved != r.seen {
		r.seen, r.moved = moved, now
		r.timer.Reset(min(limit, r.ss.c.cfg.parkAfter))
		r.mu.Unlock()
		return
	}
	quiet := now.Sub(r.moved)
	if quiet < limit {
		if !r.parking {
			r.parking = true
			for _, s := range []*side{&r.client, &r.remote} {
				if _, ok := s.conn.(rawConn); ok && canPark {
					_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the direction that waits for something to read
				}
			}
		}
		r.timer.Reset(limit - quiet)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.abort(errIdle)
}

// abort resets both connections.
func (r *relay) abort(err error) {
	r.mu.Lock()
	r.over = true
	if r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.reset(&r.client)
	r.reset(&r.remote)
}

// reset resets one of the connections, and wakes the direction that reads from it.
func (r *relay) reset(s *side) {
	reset(s.conn)
	for _, f := range []*flow{&r.up, &r.down} {
		if f.src == s {
			r.ss.s.lot.wake(f)
		}
	}
}

// errParked tells that a direction now waits without a goroutine.
var errParked = errors.New("waits elsewhere")

// rest is called by a direction that was woken to give up its goroutine. It returns
// errParked if the goroutine must end, nil if the direction must go on.
func (f *flow) rest(source syscall.RawConn) error {
	r := f.r
	r.mu.Lock()
	over := r.over
	if !over {
		_ = f.src.conn.SetReadDeadline(time.Time{})
	}
	r.mu.Unlock()
	if !over && f.s.lot.park(f, source) {
		return errParked
	}
	return nil
}

// resume goes on with a direction that waited without a goroutine.
func (f *flow) resume() {
	r := f.r
	r.mu.Lock()
	if !r.over {
		_ = f.src.conn.SetReadDeadline(time.Time{}) // look may have set it
		if r.parking {
			r.parking, r.moved = false, time.Now()
			r.timer.Reset(min(r.limitLocked(), r.ss.c.cfg.parkAfter))
		}
	}
	r.mu.Unlock()
	f.run(nil)
}

// These are how often the kernel is asked whether everything has arrived. The kernel
// does not report that by itself.
const (
	drainLookFirst = time.Millisecond
	drainLookLater = 50 * time.Millisecond
)

// drain waits until the peer's kernel has received everything that was written to a
// connection. It also returns when the connection is gone, which is up to the peer or
// to a time-out.
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

// broken returns the error of a failed write to the connection, nil if none failed.
func (s *side) broken() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.failed
}

// flow is one direction of a relay.
type flow struct {
	s        *Server
	r        *relay
	dst, src *side
	n        *atomic.Int64
	parked   int32 // the number of its place in the lot; 0: it does not wait there
}

// rawConn is a connection whose descriptor can be read.
type rawConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// copy moves bytes until src ends. Bytes that were read are written before anything
// else happens.
func (f *flow) copy() error {
	if src, ok := f.src.conn.(rawConn); ok {
		return f.copyRaw(src)
	}
	return f.copyPlain()
}

// end passes on the end of src, unless src was reset.
func (f *flow) end() error {
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

// copyPlain copies from a connection without a descriptor.
func (f *flow) copyPlain() error {
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

func (f *flow) write(b []byte) error {
	f.dst.writing.Lock()
	n, err := f.dst.conn.Write(b)
	if err != nil {
		f.dst.failed = err
	}
	f.dst.writing.Unlock()
	f.n.Add(int64(n))
	return err
}
