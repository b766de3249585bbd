package client

import (
	"net"
	"slices"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// Socket is a connection of a Pool. It is in use until it is released or
// closed.
type Socket struct {
	net.Conn
	dialed

	pool *Pool
	key  setKey
	// What the manager is told about it: a number, which is a descriptor in the
	// original, and the context.
	id      int32
	context wire.Context

	// Guarded by pool.mu.
	state socketState
	timer *time.Timer // closes it when idle for long
}

type socketState int

const (
	inUse socketState = iota
	isIdle
	isClosed
)

// NetConn returns the connection itself.
func (s *Socket) NetConn() net.Conn { return s.Conn }

// Release offers the socket for reuse; it stays connected, and whatever was not
// read stays in it. A socket that is idle already stays so. The error is
// net.ErrClosed if the socket was closed.
func (s *Socket) Release() error {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s.state {
	case isClosed:
		return net.ErrClosed
	case isIdle:
		return nil
	}
	s.state = isIdle
	timeout := p.IdleTimeout
	if timeout == 0 {
		timeout = defaultIdleTimeout
	}
	s.timer = time.AfterFunc(max(timeout, 0), func() { p.expire(s) })
	if timeout < 0 {
		s.timer.Stop()
	}
	list := p.sets[s.key]
	list = append(slices.DeleteFunc(list, func(o *Socket) bool { return o == s }), s)
	p.sets[s.key] = list

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
	return nil
}

// expire closes s if it is idle still and has been for long enough.
func (p *Pool) expire(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A timer that could not be stopped any more may meet a later idle time; it
	// then ends that early, which does no harm.
	if s.state == isIdle {
		_ = p.closeLocked(s)
	}
}

// Close closes the socket and takes it out of its set.
func (s *Socket) Close() error {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.pool.closeLocked(s)
}

func (p *Pool) closeLocked(s *Socket) error {
	if s.state == isClosed {
		return net.ErrClosed
	}
	s.state = isClosed
	if s.timer != nil {
		s.timer.Stop()
	}
	list := slices.DeleteFunc(p.sets[s.key], func(o *Socket) bool { return o == s })
	if p.sets[s.key] = list; len(list) == 0 {
		delete(p.sets, s.key)
	}
	return s.Conn.Close()
}

// Cleanup releases the socket and closes all idle sockets of its set, this one
// included.
func (s *Socket) Cleanup() error {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.state == isClosed {
		return net.ErrClosed
	}
	s.state = isIdle
	for _, o := range slices.Clone(p.sets[s.key]) {
		if o.state == isIdle {
			_ = p.closeLocked(o)
		}
	}
	return nil
}
