package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/socket-intents/mamma/internal/wire"
)

const (
	defaultMaxIdle     = 8
	defaultIdleTimeout = 90 * time.Second // that of http.DefaultTransport
)

// Pool keeps connections for reuse. They form sets, one for each host, service
// and transport. Who wants a connection of a set gets a new one or one that is
// idle, as the Multi Access Manager chooses. The zero value is ready to use. A
// Pool is safe for concurrent use and must not be copied after first use.
//
// It is what the original Socket Intents call socketconnect
// (doc/original/client-and-socks.md 8).
type Pool struct {
	// Dialer makes the connections. If it is nil, the Pool has its own.
	Dialer *Dialer

	// MaxIdle is how many idle connections a set keeps, the oldest are closed; 0
	// means 8, a negative value none.
	MaxIdle int

	// IdleTimeout is when an idle connection is closed; 0 means 90 s, a negative
	// value never.
	IdleTimeout time.Duration

	// MaxPerSet is how many connections a set has, MaxConns all sets together:
	// in use, idle, and being made; 0 means no limit. Browsers have 6 and 17, or
	// more. Who wants a connection beyond that waits until somebody releases or
	// closes one, in order of arrival; a set that is full holds up nobody who
	// waits for another one. The context and Net.Deadline of the Dialer end the
	// wait; its Net.Timeout and Info.Duration count from the end of it, and the
	// manager is asked then. An idle one never stands in the way of a new
	// connection: the one that is idle for longest is closed, of the same set
	// if that is full, otherwise rather of another one.
	//
	// Where there are limits, the manager is asked about one connection after the
	// other, in the same order, so that it knows of those before, and that each
	// can have the idle one that was chosen. A decision that takes longer than
	// the Daemon's DecisionTimeout holds up nobody.
	MaxPerSet, MaxConns int

	// ReuseFirst uses an idle connection of the set again, the one that became idle
	// last, without asking the manager, which then decides about new connections
	// only. It is asked nevertheless where the SelectionProperties require or prohibit
	// networks by name or cost, which the manager alone knows.
	ReuseFirst bool

	own Dialer

	mu    sync.Mutex // guards what follows and what it points to
	sets  map[setKey]*socketSet
	busy  int      // sum over all sets
	queue []*place // those that wait; none of them could be admitted
	// deciding is closed when who was admitted last has decided.
	deciding <-chan struct{}
	lastID   int32
	turn     uint64 // number of releases so far
}

// setKey identifies a socket set. The service is the decimal port, so that
// "https" and "443" share a set.
type setKey struct {
	typ           int32
	host, service string
}

func (p *Pool) dialer() *Dialer {
	if p.Dialer != nil {
		return p.Dialer
	}
	return &p.own
}

// Get returns a connection to address: an idle one of the same set if the manager
// says so, otherwise a new one, which Conn.Reused tells. Networks, addresses,
// intents and errors are those of Dialer.DialContext, but that there must be a
// host and a port over tcp or udp. Without the manager, the connection that became
// idle last is used again.
//
// The caller has the connection to itself until it calls Release or Close.
func (p *Pool) Get(ctx context.Context, network, address string) (*Conn, error) {
	return p.get(ctx, network, address, true)
}

// GetNew is Get, but never uses a connection again.
func (p *Pool) GetNew(ctx context.Context, network, address string) (*Conn, error) {
	return p.get(ctx, network, address, false)
}

// GetLike is Get for the set that c is or was of.
func (p *Pool) GetLike(ctx context.Context, c *Conn) (*Conn, error) {
	network := "tcp"
	if c.key.typ == wire.SockDgram {
		network = "udp"
	}
	return p.get(ctx, network, net.JoinHostPort(c.key.host, c.key.service), true)
}

func (p *Pool) get(ctx context.Context, network, address string, reuse bool) (*Conn, error) {
	w, err := p.enter(ctx, network, address, reuse)
	if err != nil {
		return nil, err
	}
	return p.connect(ctx, w)
}

// connect waits for the place and makes the best of it.
func (p *Pool) connect(ctx context.Context, w *place) (*Conn, error) {
	if err := p.wait(ctx, w); err != nil {
		return nil, fmt.Errorf("get %s %s: waiting for a place in the pool: %w", w.target.network, w.target.address, err)
	}
	s, err := p.fill(ctx, w)
	if err != nil {
		p.leave(w)
	}
	return s, err
}

// fill finds an idle socket for a place, or makes a connection.
func (p *Pool) fill(ctx context.Context, w *place) (*Conn, error) {
	begun := time.Now()
	d, t := p.dialer(), &w.target
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	members, choose := p.offer(w)
	judged := t.selection.needsManager() // then no connection is used again without its word
	if p.ReuseFirst && !judged {
		if s := p.takeLast(w, members); s != nil {
			s.reused(nil, nil, begun)
			return s, nil
		}
		members, choose = nil, false
	}
	pl, err := d.daemon().decide(ctx, *t, choose, members)
	if err == nil && pl.reuse {
		if s := p.take(w, pl.existing); s != nil {
			s.reused(pl, nil, begun)
			p.begin(s, pl, begun)
			return s, nil
		}
		// Somebody else took it, or the peer closed it meanwhile.
		pl, err = d.daemon().decide(ctx, *t, false, nil)
	}
	if forbidden(err) {
		return nil, &DialError{Network: t.network, Address: t.address, Err: err}
	}
	if err != nil {
		d.without(err)
		if judged {
			members = nil
		}
		if s := p.takeLast(w, members); s != nil {
			s.reused(nil, err, begun)
			return s, nil
		}
	}
	p.makeRoom(ctx, w)
	var conn net.Conn
	if err != nil {
		pl = &plan{} // without a connection to the manager
		conn, err = d.dialPlainly(ctx, t, begun, err)
	} else {
		conn, err = d.dialPlan(ctx, pl, begun)
	}
	if err != nil {
		return nil, err
	}
	s := p.add(w, pl.linkID, conn)
	p.begin(s, pl, begun)
	return s, nil
}

// offer lists the idle sockets of the place's set, and tells whether the set has
// any sockets. Those that the peer has closed are removed; those in use are
// nobody else's business.
func (p *Pool) offer(w *place) (members []wire.SetMember, exists bool) {
	if !w.reuse {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	set := p.sets[w.key]
	for _, s := range slices.Clone(set.sockets) {
		if s.state != isIdle || !w.target.suits(s.info.Remote.Addr(), netip.Addr{}) || !w.target.permitsConn(&s.info) {
			continue
		}
		if peerClosed(s.Conn) {
			_ = p.closeLocked(s)
			continue
		}
		members = append(members, wire.SetMember{FD: s.id, Context: s.context})
	}
	return members, len(set.sockets) > 0
}

// takeLast marks the socket that became idle last as in use. It returns nil if
// none of the members is idle any more.
func (p *Pool) takeLast(w *place, members []wire.SetMember) *Conn {
	for _, m := range slices.Backward(members) {
		if s := p.take(w, m.FD); s != nil {
			return s
		}
	}
	return nil
}

// take marks an idle socket as in use; it has the place then. It returns nil if
// it is not idle any more.
func (p *Pool) take(w *place, id int32) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := p.sets[w.key]
	i := slices.IndexFunc(set.sockets, func(s *Conn) bool { return s.id == id })
	if i < 0 || set.sockets[i].state != isIdle || !w.target.permitsConn(&set.sockets[i].info) {
		return nil
	}
	s := set.sockets[i]
	if peerClosed(s.Conn) {
		_ = p.closeLocked(s)
		return nil
	}
	s.timer.Stop()
	s.state = inUse
	w.decide()
	return s
}

// add makes a socket of a new connection; it has the place then.
func (p *Pool) add(w *place, linkID uuid.UUID, conn net.Conn) *Conn {
	info, _ := InfoOf(conn)
	s := &Conn{Conn: conn, dialed: dialed{info}, pool: p, key: w.key, context: w.target.offered(&info)}
	s.context.ID = linkID

	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastID++
	if p.lastID <= 0 { // wrapped; 0 is no socket to the original
		p.lastID = 1
	}
	s.id = p.lastID
	set := p.sets[w.key]
	set.making--
	set.sockets = append(set.sockets, s)
	return s
}

// CloseIdle closes all idle connections of all sets.
func (p *Pool) CloseIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, set := range p.sets {
		for _, s := range slices.Clone(set.sockets) {
			if s.state == isIdle {
				_ = p.closeLocked(s)
			}
		}
	}
}

// Close closes all idle connections, and those to the manager if they are the
// Pool's own. Connections in use stay open, and the Pool can still be used. The
// error is always nil.
func (p *Pool) Close() error {
	p.CloseIdle()
	if p.Dialer != nil {
		return nil
	}
	return p.own.Close()
}
