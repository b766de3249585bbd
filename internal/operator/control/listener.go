package control

import (
	"log/slog"
	"net"
	"sync"
)

const (
	// A user has at most one connection of sharePerUser, so that none takes all. One of
	// shareReserved is kept for root and the daemon's user, so that they can always find
	// out what is wrong. For these two only the bound of all counts.
	sharePerUser  = 4
	shareReserved = 8
)

// listener accepts connections within the limits, and notes who the peers are.
type listener struct {
	net.Listener
	guard guard
	who   func(*net.UnixConn) (peer, error)
	log   *slog.Logger
	most  int // connections at a time

	mu    sync.Mutex
	count int
	users map[uint32]int
}

func newListener(l net.Listener, g guard, who func(*net.UnixConn) (peer, error), log *slog.Logger, most int) *listener {
	return &listener{Listener: l, guard: g, who: who, log: log, most: most, users: map[uint32]int{}}
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
	most, mostOfUser := l.most-max(1, l.most/shareReserved), max(1, l.most/sharePerUser)
	if l.guard.rights(p).Change {
		most, mostOfUser = l.most, l.most
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
