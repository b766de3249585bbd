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

// parkAfter is how long a connection is idle before its goroutines are given up. It
// is looked at so often as well, so it should not be short.
const parkAfter = 5 * time.Second

// relay moves bytes both ways until both directions have ended, closes both
// connections and calls done, which may be after it returns. The end of one direction
// is passed on as such. If one connection breaks, relay resets the other one, but only
// after all bytes received from the first have arrived there. An earlier reset would
// make the kernel drop bytes that it has yet to send; without a proxy, the reset
// would have come after the data.
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

	drained atomic.Int64 // bytes that were waited for

	mu         sync.Mutex
	timer      *time.Timer
	directions int       // that have not ended
	half       bool      // one direction has ended
	over       bool      // both connections were reset
	err        error     // the first
	seen       int64     // bytes in both directions when the timer last fired
	moved      time.Time // when it last fired and there were more than before
	parking    bool      // the directions are asked to give up their goroutines, or have done so
}

// side is one of the two connections.
type side struct {
	conn net.Conn

	writing sync.Mutex // held while something is written to it, and for failed
	failed  error      // of writing
}

// run moves bytes until there are no more, and passes on how it ended. If the
// connection is idle it returns before, and is called again when it is not.
func (f *flow) run(early []byte) {
	var err error
	if len(early) > 0 {
		err = f.write(early)
	}
	if err == nil {
		err = f.copy()
	}
	if errors.Is(err, errParked) {
		return // f may be running elsewhere already
	}
	if err == nil {
		err = f.end()
	}
	r := f.r
	r.ended(err)
	// What a destination had sent before it broke is on its way back: the other
	// direction ends by itself.
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
		// Closing with bytes unread makes the kernel send a reset at once.
		r.drain(&r.client)
		r.drain(&r.remote)
	}
	_ = r.remote.conn.Close()
	_ = r.ss.c.Close()
	r.done(err)
}

// ended takes the result of a direction.
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

// limitLocked is how long nothing may move.
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

// look runs now and then, and sees whether the connection is idle, and whether it
// was for too long. Relaying bytes costs nothing extra.
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
					_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wakes who waits for something to read
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

// reset closes one of the connections, and wakes the direction that reads from it.
func (r *relay) reset(s *side) {
	reset(s.conn)
	for _, f := range []*flow{&r.up, &r.down} {
		if f.src == s {
			r.ss.s.lot.wake(f)
		}
	}
}

// errParked tells that a direction waits without a goroutine.
var errParked = errors.New("waits elsewhere")

// rest is called by a direction that was woken to give up its goroutine. It returns
// errParked if it is to do so, nil if it is to go on.
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

// resume goes on with a direction that had no goroutine.
func (f *flow) resume() {
	r := f.r
	r.mu.Lock()
	if !r.over {
		_ = f.src.conn.SetReadDeadline(time.Time{}) // may be that of look
		if r.parking {
			r.parking, r.moved = false, time.Now()
			r.timer.Reset(min(r.limitLocked(), r.ss.c.cfg.parkAfter))
		}
	}
	r.mu.Unlock()
	f.run(nil)
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
	parked   int32 // the lot's
}

// rawConn is a connection that can be read by its descriptor.
type rawConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// copy moves bytes until the end of src. Bytes that were read are written before
// anything else happens.
func (f *flow) copy() error {
	if src, ok := f.src.conn.(rawConn); ok {
		return f.copyRaw(src)
	}
	return f.copyPlain()
}

// end passes on the end of src, unless that was none.
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

// copyPlain serves what has no descriptor.
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
