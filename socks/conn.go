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
	relay         atomic.Pointer[relay]      // nil until the relay starts
	taken         bool                       // by a relay, which then closes it; only the serving goroutine uses this
	http          atomic.Pointer[httpClient] // nil unless the client speaks HTTP

	// Server.mu guards these.
	waiting *list.Element // its place in Server.pending; nil after the first request
	evicted bool
}

// admit counts a new connection. If there are too many, admit closes nc and returns
// nil.
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

// request returns a new request of this client, without a destination.
func (c *conn) request(p Protocol) *Request {
	_, isUnix := c.LocalAddr().(*net.UnixAddr)
	return &Request{Protocol: p, Client: c.client, Listener: c.local, Unix: isUnix, Conn: c.Conn}
}

// requested notes that the client has made a request. It returns an error if the
// connection was closed before, to make room for another one.
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

// Close closes the connection and no longer counts it.
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

// reset closes the connection with a reset, so that the peer does not take this for an
// orderly end.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// SetLinger does what that of a *net.TCPConn does, if the connection has it.
func (c *conn) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

// These limit for how long, and how much, the proxy reads from a client after an error
// answer. Closing at once, with bytes unread, would make the kernel send a reset, which
// can overtake the answer.
const (
	lastWordsWait  = time.Second
	lastWordsBytes = 64 << 10
)

func (c *conn) farewell() {
	if c.endWriting() {
		c.lastWords()
	}
}

// endWriting shows the client the end. It tells whether the client can still be read.
func (c *conn) endWriting() bool {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	return ok && w.CloseWrite() == nil
}

// lastWords reads what the client has sent, until it closes the connection.
func (c *conn) lastWords() {
	_ = c.SetReadDeadline(time.Now().Add(lastWordsWait))
	_, _ = io.CopyN(io.Discard, c.Conn, lastWordsBytes)
}
