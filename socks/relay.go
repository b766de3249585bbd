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
// connections. The end of one direction is passed on as such; whatever breaks
// one connection resets the other.
func (ss *Session) relay(remote net.Conn, early []byte) error {
	c, s := ss.c, ss.s
	r := relay{client: c.Conn, remote: remote, ss: ss}
	r.mu.Lock()
	r.timer = time.AfterFunc(c.cfg.Idle, r.idle)
	r.mu.Unlock()
	defer r.timer.Stop()

	var down sync.WaitGroup
	down.Go(func() {
		r.ended(flow{s: s, dst: c.Conn, src: remote, n: &ss.received}.copy())
	})
	up := flow{s: s, dst: remote, src: c.Conn, n: &ss.sent}
	var err error
	if len(early) > 0 {
		err = up.write(early)
	}
	if err == nil {
		err = up.copy()
	}
	r.ended(err)
	down.Wait()
	_ = remote.Close()
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// relay is the state that both directions share.
type relay struct {
	client, remote net.Conn
	ss             *Session

	mu    sync.Mutex
	timer *time.Timer
	half  bool  // one direction has ended
	err   error // the first
	seen  int64 // bytes in both directions when the timer last fired
}

// ended takes the result of a direction. Having failed, it takes the other one
// with it.
func (r *relay) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.half = true
		if r.err == nil {
			r.timer.Reset(r.ss.c.cfg.HalfClosed)
		}
		return
	}
	r.breakLocked(err)
}

func (r *relay) breakLocked(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	reset(r.client)
	reset(r.remote)
}

// idle runs when the connection may have been idle for too long.
func (r *relay) idle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	limit := r.ss.c.cfg.Idle
	if r.half {
		limit = min(limit, r.ss.c.cfg.HalfClosed)
	}
	// That this sees only whether something moved since the last look makes
	// the time-out up to twice as long, and costs the bytes nothing.
	if moved := r.ss.Sent() + r.ss.Received(); moved != r.seen {
		r.seen = moved
		r.timer.Reset(limit)
		return
	}
	r.breakLocked(errIdle)
}

// flow is one direction.
type flow struct {
	s        *Server
	dst, src net.Conn
	n        *atomic.Int64
}

// rawConn is a connection that can be read by its descriptor.
type rawConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// copy moves bytes until the end of src, which it passes on. Bytes that were
// read are written before anything else happens.
func (f flow) copy() error {
	var err error
	if src, ok := f.src.(rawConn); ok {
		err = f.copyRaw(src)
	} else {
		err = f.copyPlain()
	}
	if err != nil {
		return err
	}
	if w, ok := f.dst.(interface{ CloseWrite() error }); ok {
		// The peer may have closed already, having got all that it wanted.
		if err := w.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
			return err
		}
		return nil
	}
	return f.dst.Close()
}

// copyPlain serves what has no descriptor.
func (f flow) copyPlain() error {
	b := f.s.bytes.buffer()
	defer f.s.bytes.putBuffer(b)
	for {
		n, err := f.src.Read(b[:])
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
	n, err := f.dst.Write(b)
	f.n.Add(int64(n))
	return err
}
