package socks

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrServerClosed is the error of Serve after Shutdown or Close.
var ErrServerClosed = errors.New("socks: server closed")

// Reasons to reject a client.
var (
	errTooMany     = errors.New("too many connections")
	errMadeRoom    = errors.New("gave way to another connection before it made a request")
	errNotProtocol = errors.New("neither SOCKS nor HTTP")
)

// Server serves clients. Its methods are safe for concurrent use.
type Server struct {
	config atomic.Pointer[Config]
	bytes  resources
	heads  budget // bytes of headers
	lot    lot
	patrol patrol

	running  sync.WaitGroup // a task for each client
	stopping atomic.Bool    // the same as closing, to be read without the lock

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu        sync.Mutex
	listeners map[net.Listener]netip.AddrPort
	conns     map[*conn]struct{}
	perClient map[netip.Addr]int
	pending   *list.List // connections without a request yet, oldest first
	closing   bool
	bound     map[bindKey]struct{} // ports that clients were given by BIND
	turns     map[netip.Addr]*turn // clients whose passwords are being checked
	extra     int                  // descriptors beyond the two of each connection
	empty     chan struct{}        // closed when closing is set and no connection is left
}

// New returns a Server for the configuration c. It does nothing before Serve is called.
func New(c Config) *Server {
	s := &Server{
		listeners: map[net.Listener]netip.AddrPort{},
		conns:     map[*conn]struct{}{},
		perClient: map[netip.Addr]int{},
		pending:   list.New(),
		empty:     make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.bytes.init()
	s.Reconfigure(c)
	return s
}

// Reconfigure makes c the configuration of connections that are accepted from now on.
func (s *Server) Reconfigure(c Config) { s.config.Store(c.withDefaults()) }

// Serve accepts clients on l until Shutdown or Close, which close l, or until somebody
// else closes l. After other errors of Accept, such as a lack of descriptors, Serve
// waits and tries again. Serve may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = l.Close()
		return ErrServerClosed
	}
	s.listeners[l] = addrPort(l.Addr())
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		_ = l.Close()
	}()
	var wait time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			wait = 0
			if c := s.admit(nc); c != nil {
				go func() {
					defer s.running.Done()
					growStack()
					s.serve(c)
				}()
			}
			continue
		}
		switch {
		case s.ctx.Err() != nil, s.isClosing():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept clients: %w", err)
		}
		if wait == 0 {
			s.config.Load().Logger.Warn("cannot accept a client; trying again", "listener", l.Addr(), "err", err)
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
		}
	}
}

func (s *Server) isClosing() bool { return s.stopping.Load() }

// growStack makes the goroutine's stack as large as serving needs, while there is
// nothing on it yet. Otherwise the stack is doubled step by step, and everything on it
// is moved each time; that took a tenth of the processor time of a short connection.
//
//go:noinline
func growStack() {
	var room [6 << 10]byte
	runtime.KeepAlive(&room)
}

// serve serves one client.
func (s *Server) serve(c *conn) {
	in := opening{c: c, deadline: time.Now().Add(c.cfg.Handshake)}
	br := s.bytes.reader(&in)
	first, err := br.Peek(1)
	if err == nil {
		switch b := first[0]; {
		case b == socks5Version:
			in.bound()
			err = s.serveSOCKS(c, br, readSOCKS5, replySOCKS5)
		case b == socks4Version:
			in.bound()
			err = s.serveSOCKS(c, br, readSOCKS4, replySOCKS4)
		case isToken(first), b == '\r', b == '\n': // empty lines may come before a request
			limit := c.cfg.Handshake
			if in.waited {
				limit = 0
			}
			s.serveHTTP(c, s.bytes.release(br), limit)
			return
		default:
			err = fmt.Errorf("%w: first byte %#02x", errNotProtocol, b)
		}
	}
	if err != nil {
		s.bytes.putReader(br)
		if c.requested() != nil {
			err = errMadeRoom
		}
		c.cfg.Hooks.Rejected(c.client, err)
	}
	if !c.taken {
		_ = c.Close()
	}
}

// opening reads what a client sends first. It sets no deadline unless it has to wait.
// Setting a timer may wake a sleeping thread, and most clients have sent something by
// then.
type opening struct {
	c        *conn
	deadline time.Time
	waited   bool // the read deadline is set
}

func (o *opening) Read(b []byte) (int, error) { return readOrWait(o.c.Conn, b, o.wait) }

func (o *opening) wait() {
	if !o.waited {
		o.waited = true
		_ = o.c.SetReadDeadline(o.deadline)
	}
}

// bound sets the deadline for all that is read and written.
func (o *opening) bound() {
	o.waited = true
	_ = o.c.SetDeadline(o.deadline)
}

type (
	// A requestReader reads a request. It also answers the messages that come before
	// the request.
	requestReader func(c *conn, br *bufio.Reader) (*Request, error)
	// A replier writes a reply. If the protocol has a place for it, the reply says why:
	// cause is nil if the request succeeded.
	replier func(w io.Writer, reply Reply, bound netip.AddrPort, cause error) error
)

// serveSOCKS serves a client of SOCKS 4 or 5. If it returns nil, br has been given
// back.
func (s *Server) serveSOCKS(c *conn, br *bufio.Reader, read requestReader, reply replier) error {
	r, err := read(c, br)
	if err == nil {
		err = c.requested()
	}
	if r == nil {
		return err
	}
	ss := s.newSession(c, r)
	if err != nil { // enough is known for a reply
		s.bytes.putReader(br)
		ss.refuse(err, reply)
		return nil
	}
	early := s.bytes.release(br)
	switch r.Command {
	case CommandConnect:
		ss.connect(early, reply)
	case CommandBind:
		ss.bind(early, reply)
	case CommandUDPAssociate:
		ss.associate(reply)
	case CommandResolve, CommandResolvePTR:
		ss.lookUp(reply)
	default:
		ss.refuse(&Error{Reply: CommandNotSupported}, reply)
	}
	return nil
}

// Shutdown stops accepting and waits until all clients are done. If ctx ends first,
// Shutdown closes their connections and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.closeWaiting()
	defer func() { _ = s.Close() }()
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops at once. Clients get a reset, so that nobody takes what has arrived for
// all there is.
func (s *Server) Close() error {
	s.stopAccepting()
	s.cancel()
	s.mu.Lock()
	var open []*conn
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		// One direction may have ended already, so the relay must close the connection
		// to the destination.
		if r := c.relay.Load(); r != nil {
			r.abort(ErrServerClosed)
		}
		reset(c)
	}
	s.lot.close()
	s.running.Wait()
	s.bytes.close()
	return nil
}

// closeWaiting ends the HTTP clients that have no request under way.
func (s *Server) closeWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if h := c.http.Load(); h != nil && h.waiting.Load() {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	s.stopping.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
	if len(s.conns) == 0 {
		close(s.empty)
	}
}

// Conns returns the number of clients' connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// isSelf tells whether a connection to ap would reach this Server.
func (s *Server) isSelf(ap netip.AddrPort) bool {
	s.mu.Lock()
	var ours []netip.Addr
	for _, l := range s.listeners {
		if l.Port() == ap.Port() {
			ours = append(ours, l.Addr())
		}
	}
	s.mu.Unlock()
	for _, ip := range ours {
		if ip == ap.Addr() || ip.IsUnspecified() && isLocal(ap.Addr()) {
			return true
		}
	}
	return false
}

// isLocal tells whether ip is an address of this host.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // refuse in case of doubt
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == ip {
				return true
			}
		}
	}
	return false
}
