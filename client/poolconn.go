package client

import (
	"net"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Conn is a connection of a Pool. It is in use until it is released or closed.
// Its methods are safe for concurrent use.
type Conn struct {
	net.Conn
	dialed

	// Value is for the user, who can keep there what belongs to the connection from one
	// use to the next, such as the *tls.Conn on top of it. Only the current user of the
	// connection may touch it.
	Value any

	pool *Pool
	key  setKey
	// The manager is told these two: a number, which was a descriptor in the original,
	// and the context.
	id      int32
	context wire.Context

	// The fields below are guarded by pool.mu.
	state socketState
	use   poolUse
	timer *time.Timer // closes the socket when it has been idle for too long
	turn  uint64      // number of the last release
}

type socketState int

const (
	inUse socketState = iota
	isIdle
	isClosed
)

// reused notes why the socket is used again: by a plan, or without a plan because of
// err. If both are nil, the manager was not asked.
func (s *Conn) reused(pl *plan, err error, begun time.Time) {
	i := &s.info
	i.Reused, i.Decided, i.Err, i.Reason, i.ID = true, pl != nil, err, "", DecisionID{}
	switch {
	case pl != nil:
		i.Reason, i.ID = pl.reason, DecisionID(pl.id)
	case err != nil:
		i.Reason = "used again without the manager"
	default:
		i.Reason = "used again without asking the manager"
	}
	i.Attempts, i.Duration = nil, time.Since(begun)
}

// NetConn returns the connection itself.
func (s *Conn) NetConn() net.Conn { return s.Conn }

// Reused tells whether the connection was used before, and idle in between. It is
// Info.Reused.
func (s *Conn) Reused() bool { return s.info.Reused }

// Release gives the connection back to the Pool for reuse. It stays connected, and data
// that was not read stays in it. Releasing an idle connection changes nothing. The
// error is net.ErrClosed if the connection was closed.
func (s *Conn) Release() error {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.state {
	case isClosed:
		return net.ErrClosed
	case isIdle:
		return nil
	}
	p.idleLocked(s, false)
	timeout := p.IdleTimeout
	if timeout == 0 {
		timeout = defaultIdleTimeout
	}
	s.timer = time.AfterFunc(max(timeout, 0), func() { p.expire(s) })
	if timeout < 0 {
		s.timer.Stop()
	}
	set := p.sets[s.key]
	list := append(slices.DeleteFunc(set.sockets, func(o *Conn) bool { return o == s }), s)
	set.sockets = list

	spare := -p.MaxIdle
	switch {
	case p.MaxIdle == 0:
		spare = -defaultMaxIdle
	case p.MaxIdle < 0:
		spare = 0
	}
	for _, o := range list {
		if o.state == isIdle {
			spare++
		}
	}
	for _, o := range slices.Clone(list) {
		if spare > 0 && o.state == isIdle {
			_ = p.closeLocked(o)
			spare--
		}
	}
	p.admitLocked()
	return nil
}

// expire closes s if s is idle and has been for long enough.
func (p *Pool) expire(s *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The timer may fire although s was used and released in between, if it could not
	// be stopped in time. s is then closed too early, which does no harm.
	if s.state == isIdle {
		_ = p.closeLocked(s)
	}
}

// Close closes the connection and takes it out of the Pool.
func (s *Conn) Close() error {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	defer s.pool.admitLocked()
	return s.pool.closeLocked(s)
}

// closeLocked closes a socket. If the socket was in use, the caller must call
// admitLocked afterwards.
func (p *Pool) closeLocked(s *Conn) error {
	if s.state == isClosed {
		return net.ErrClosed
	}
	p.idleLocked(s, true)
	s.state = isClosed
	if s.timer != nil {
		s.timer.Stop()
	}
	set := p.sets[s.key]
	set.sockets = slices.DeleteFunc(set.sockets, func(o *Conn) bool { return o == s })
	p.forgetLocked(s.key)
	return s.Conn.Close()
}

// idleLocked ends the use of a socket, whose place is then free. partial tells that the
// socket is closed, so that a transfer on it may be incomplete.
func (p *Pool) idleLocked(s *Conn, partial bool) {
	if s.state == inUse {
		p.tell(s, partial)
		p.sets[s.key].busy--
		p.busy--
		p.turn++
		s.turn = p.turn
	}
	s.state = isIdle
}

// CloseIdle releases the connection and closes all idle ones of its set, this one
// included. The error is net.ErrClosed if it was closed before.
func (s *Conn) CloseIdle() error {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.state == isClosed {
		return net.ErrClosed
	}
	p.idleLocked(s, false)
	for _, o := range slices.Clone(p.sets[s.key].sockets) {
		if o.state == isIdle {
			_ = p.closeLocked(o)
		}
	}
	p.admitLocked()
	return nil
}
