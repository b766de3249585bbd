package socks

import (
	"container/list"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a client's connection.
type conn struct {
	net.Conn
	s             *Server
	cfg           *Config
	client, local netip.AddrPort
	once          sync.Once
	relay         atomic.Pointer[relay]      // nil until there is one
	taken         bool                       // by a relay, which closes it; of the goroutine that serves
	http          atomic.Pointer[httpClient] // nil for others

	// Guarded by Server.mu.
	waiting *list.Element // in Server.pending; nil once there is a request
	evicted bool
}

// admit counts a new connection. It returns nil, having closed nc, if there are
// too many.
func (s *Server) admit(nc net.Conn) *conn {
	c := &conn{Conn: nc, s: s, cfg: s.config.Load(), client: addrPort(nc.RemoteAddr()), local: addrPort(nc.LocalAddr())}
	ip := c.client.Addr()
	s.mu.Lock()
	full := s.closing || ip.IsValid() && !ip.IsLoopback() && s.perClient[ip] >= c.cfg.MaxConnsPerClient
	var oldest *conn
	if !full && (len(s.conns) >= c.cfg.MaxConns || !s.haveFilesLocked(1, 0, c.cfg)) {
		if e := s.pending.Front(); e != nil {
			oldest = e.Value.(*conn)
			oldest.evicted = true
			s.pending.Remove(e)
			oldest.waiting = nil
		} else {
			full = true
		}
	}
	if !full {
		s.running.Add(1)
		s.conns[c] = struct{}{}
		s.perClient[ip]++
		c.waiting = s.pending.PushBack(c)
	}
	s.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
	if full {
		_ = nc.Close()
		c.cfg.Hooks.Rejected(c.client, errTooMany)
		return nil
	}
	return c
}

// request makes a request of this client.
func (c *conn) request(p Protocol) *Request {
	_, isUnix := c.LocalAddr().(*net.UnixAddr)
	return &Request{Protocol: p, Client: c.client, Listener: c.local, Unix: isUnix, Conn: c.Conn}
}

// requested notes that c has made a request. It fails if it was too late.
func (c *conn) requested() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.waiting != nil {
		c.s.pending.Remove(c.waiting)
		c.waiting = nil
	}
	if c.evicted {
		return errMadeRoom
	}
	return nil
}

// Close closes the connection and gives its place up.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		s := c.s
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		ip := c.client.Addr()
		if s.perClient[ip]--; s.perClient[ip] == 0 {
			delete(s.perClient, ip)
		}
		if c.waiting != nil {
			s.pending.Remove(c.waiting)
			c.waiting = nil
		}
		if s.closing && len(s.conns) == 0 {
			close(s.empty)
		}
	})
	return err
}

// reset closes the connection so that the peer notices that it did not end well.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// SetLinger is that of a TCP connection.
func (c *conn) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

// lastWords bounds how long, and how much, is read from a client that has got
// an error as its answer. Closing at once, with bytes unread, would make the
// kernel send a reset, which can overtake the answer.
const (
	lastWordsWait  = time.Second
	lastWordsBytes = 64 << 10
)

func (c *conn) farewell() {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lastWordsWait))
	_, _ = io.CopyN(io.Discard, c.Conn, lastWordsBytes)
}
