package control

import (
	"log/slog"
	"net"
	"sync"
)

const (
	// maxConns bounds the served connections, and so the memory, of which each takes
	// some 40 kB. People and dashboards need a handful.
	maxConns = 128
	// maxConnsPerUser prevents one user from taking all connections. reservedConns are
	// kept for root and the daemon's user, so that they can always find out what is
	// wrong. For these two only maxConns counts.
	maxConnsPerUser = 32
	reservedConns   = 16
)

// listener accepts connections within the limits, and notes who the peers are.
type listener struct {
	net.Listener
	guard guard
	who   func(*net.UnixConn) (peer, error)
	log   *slog.Logger

	mu    sync.Mutex
	count int
	users map[uint32]int
}

func newListener(l net.Listener, g guard, who func(*net.UnixConn) (peer, error), log *slog.Logger) *listener {
	return &listener{Listener: l, guard: g, who: who, log: log, users: map[uint32]int{}}
}

// Accept returns the next connection within the limits. It closes others at once,
// because waiting ones could block those of root.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uc, ok := c.(*net.UnixConn)
		if !ok {
			_ = c.Close()
			continue
		}
		p, err := l.who(uc)
		if err != nil {
			l.log.Warn("a client of the control socket is refused, as the kernel does not say who it is", "err", err)
		}
		if err != nil || !l.enter(p) {
			_ = c.Close()
			continue
		}
		return &conn{UnixConn: uc, peer: p, leave: func() { l.leave(p) }}, nil
	}
}

func (l *listener) enter(p peer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	most, mostOfUser := maxConns-reservedConns, maxConnsPerUser
	if l.guard.rights(p).Change {
		most, mostOfUser = maxConns, maxConns
	}
	if l.count >= most || l.users[p.UID] >= mostOfUser {
		return false
	}
	l.count++
	l.users[p.UID]++
	return true
}

func (l *listener) leave(p peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.users[p.UID]--; l.users[p.UID] == 0 {
		delete(l.users, p.UID)
	}
}

// conn is an accepted connection.
type conn struct {
	*net.UnixConn
	peer  peer
	once  sync.Once
	leave func()
}

func (c *conn) Close() error {
	err := c.UnixConn.Close()
	c.once.Do(c.leave)
	return err
}

// limit lets n connections of l be open at a time, and closes further ones at once.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n)}
}

type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &slotted{Conn: c, free: func() { <-l.slots }}, nil
		default:
			_ = c.Close()
		}
	}
}

type slotted struct {
	net.Conn
	once sync.Once
	free func()
}

func (c *slotted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.free)
	return err
}
