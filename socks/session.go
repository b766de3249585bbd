package socks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// Session is a request and what became of it. With plain HTTP, each connection to a
// server is one Session.
type Session struct {
	Request *Request
	Begun   time.Time // when the request was read

	// These are set before Established is called.
	SetUp time.Duration // from Begun until the destination was connected
	Conn  net.Conn      // to the destination; nobody may use it; nil for UDP associations and failures

	sent, received, fragments atomic.Int64

	s *Server
	c *conn
}

// Sent returns how many bytes went from the client to the destination so far. It may be
// called at any time.
func (ss *Session) Sent() int64 { return ss.sent.Load() }

// Received returns how many bytes went from the destination to the client so far.
func (ss *Session) Received() int64 { return ss.received.Load() }

// Fragments returns how many fragments of datagrams the client of a UDP association has
// sent so far (RFC 1928, section 7). The server drops them.
func (ss *Session) Fragments() int64 { return ss.fragments.Load() }

func (s *Server) newSession(c *conn, r *Request) *Session {
	return &Session{Request: r, Begun: time.Now(), s: s, c: c}
}

// scope is what the context of a dial carries.
type scope struct {
	s    *Server
	cfg  *Config
	r    *Request
	dest Addr
}

type scopeKey struct{}

// RequestFrom returns the request for which a function of the Config is called. It
// returns nil if ctx does not come from a Server.
func RequestFrom(ctx context.Context) *Request {
	if sc, ok := ctx.Value(scopeKey{}).(scope); ok {
		return sc.r
	}
	return nil
}

func (ss *Session) scope(dest Addr) scope { return scope{ss.s, ss.c.cfg, ss.Request, dest} }

func (ss *Session) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopeKey{}, ss.scope(ss.Request.Dest))
}

// CheckDial asks the Rules of the Server from which ctx comes about an address. It is
// meant for the ControlContext of a net.Dialer. If ctx does not come from a Server,
// CheckDial allows everything.
func CheckDial(ctx context.Context, _, address string, _ syscall.RawConn) error {
	sc, ok := ctx.Value(scopeKey{}).(scope)
	if !ok {
		return nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return sc.check(ctx, ap)
}

// check tells whether the request may use the address ap. nil means that it may.
func (sc scope) check(ctx context.Context, ap netip.AddrPort) error {
	ip := ap.Addr().Unmap().WithZone("")
	switch { // connecting to these reaches the host itself
	case ip == netip.IPv4Unspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip == netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	}
	ap = netip.AddrPortFrom(ip, ap.Port())
	if sc.s.isSelf(ap) {
		return errLoop
	}
	return sc.cfg.Rules.AllowAddr(ctx, sc.r, ap)
}

// allow asks the rules about the request, before any name is resolved.
func (ss *Session) allow(ctx context.Context) error {
	r := ss.Request
	if err := ss.c.cfg.Rules.Allow(ctx, r); err != nil {
		return err
	}
	if ip := r.Dest.IP(); ip.IsValid() && r.Command != CommandUDPAssociate {
		return ss.scope(r.Dest).check(ctx, netip.AddrPortFrom(ip, r.Dest.Port))
	}
	return nil
}

// dial connects to the destination, if that is allowed. ctx must be the session's.
func (ss *Session) dial(ctx context.Context) (net.Conn, error) {
	if err := ss.allow(ctx); err != nil {
		return nil, err
	}
	dial := ss.c.cfg.Dial
	if dial == nil {
		d := net.Dialer{ControlContext: CheckDial}
		if ss.Request.Protocol == HTTP {
			d.KeepAlive = -1 // see upstream.lasting
		}
		dial = d.DialContext
	}
	nc, err := dial(ctx, "tcp", ss.Request.Dest.String())
	if err != nil {
		return nil, err
	}
	if ap := addrPort(nc.RemoteAddr()); ap.IsValid() {
		if err := ss.scope(ss.Request.Dest).check(ctx, ap); err != nil {
			reset(nc)
			return nil, err
		}
	}
	ss.SetUp = time.Since(ss.Begun)
	ss.Conn = nc
	return nc, nil
}

// connect serves CONNECT. early is what the client sent right after the request.
func (ss *Session) connect(early []byte, reply replier) {
	ctx, cancel := context.WithTimeout(ss.context(ss.s.ctx), ss.c.cfg.Connect)
	defer cancel()
	watched := ss.c.watch(early, cancel)
	remote, err := ss.dial(ctx)
	if watched.stop() {
		if err == nil {
			reset(remote)
		}
		ss.SetUp, ss.Conn, err = 0, nil, errLeft
	}
	if err != nil {
		ss.refuse(err, reply)
		return
	}
	cancel() // its timer would run as long as the connection
	ss.c.cfg.Hooks.Established(ss)
	ss.run(remote, early, reply)
}

// run tells the client that it is connected, and begins to relay. The relay may outlive
// this call; it closes the connections when it ends.
func (ss *Session) run(remote net.Conn, early []byte, reply replier) {
	c := ss.c
	_ = c.SetDeadline(time.Now().Add(c.cfg.Handshake))
	err := reply(c, Succeeded, addrPort(remote.LocalAddr()), nil)
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		if ss.s.ctx.Err() != nil {
			err = ErrServerClosed // Close has closed the connection
		}
		reset(remote)
		_ = c.Close()
		c.cfg.Hooks.Ended(ss, err)
		return
	}
	c.taken = true
	ss.s.running.Add(1)
	ss.relay(remote, early, func(err error) {
		defer ss.s.running.Done()
		c.cfg.Hooks.Ended(ss, err)
	})
}

// refuse answers a request with the reply for err, and ends the session.
func (ss *Session) refuse(err error, reply replier) {
	c := ss.c
	_ = c.SetDeadline(time.Now().Add(c.cfg.Handshake))
	replyErr := reply(c, ReplyOf(err), netip.AddrPort{}, err)
	c.cfg.Hooks.Ended(ss, err)
	if replyErr == nil {
		c.farewell()
	}
	_ = c.Close()
}

var errIdle = errors.New("idle for too long")
