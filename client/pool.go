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

	"github.com/socket-intents/mamma/client/internal/lateness"
	"github.com/socket-intents/mamma/internal/wire"
)

const (
	defaultMaxIdle     = 8
	defaultIdleTimeout = 90 * time.Second // that of http.DefaultTransport
)

// Pool keeps connections for reuse. They form sets, one for each host, service and
// transport. For each Get from a set, the Multi Access Manager chooses between the idle
// connections and a new one. Ask sends a request a second time over another network if its
// answer is late. The zero value is ready to use. A Pool is safe for concurrent use and must
// not be copied after first use.
//
// The Socket Intents prototype calls this socketconnect
// (doc/original/client-and-socks.md 8).
type Pool struct {
	// Dialer makes the connections. If it is nil, the Pool has its own.
	Dialer *Dialer

	// MaxIdle is the number of idle connections that a set keeps; if there are more,
	// the oldest are closed. 0 means 8, a negative value none.
	MaxIdle int

	// IdleTimeout is the time after which an idle connection is closed; 0 means 90 s, a
	// negative value never.
	IdleTimeout time.Duration

	// MaxPerSet bounds the connections of a set, and MaxConns those of all sets
	// together. Connections in use, idle, and being made all count; 0 means no limit.
	// Browsers have limits of 6 and 17, or more.
	//
	// A Get beyond a limit waits until somebody releases or closes a connection. Gets
	// wait in order of arrival, but a full set delays no Get from another set. The
	// context and Net.Deadline of the Dialer end the wait. Net.Timeout and
	// Info.Duration count from the end of the wait, and the manager is asked then. Idle
	// connections count, but never block a new one: the connection that has been idle
	// for longest is closed. If the set is full, that is one of the same set, otherwise
	// preferably one of another set.
	//
	// In a Pool with limits, the manager is asked about one connection after the other,
	// in the same order. It then knows of the connections before, and no two Gets
	// choose the same idle connection. A decision that takes longer than the Daemon's
	// DecisionTimeout delays no other Get.
	MaxPerSet, MaxConns int

	// ReuseFirst takes an idle connection of the set without asking the manager: the
	// one that became idle last. The manager then decides about new connections only.
	// There is one exception. If the SelectionProperties require or prohibit networks
	// by name or cost, the manager is asked, because only it knows them.
	ReuseFirst bool

	// HedgeShare bounds the part of Asks that are made twice: after n Asks there were at
	// most 1 + HedgeShare*n. 0 means 0.05. With a negative value nothing is asked twice.
	HedgeShare float64

	// HedgeLeast is the least time after which something is asked a second time, even if
	// earlier answers took less. 0 means 250 ms.
	HedgeLeast time.Duration

	own    Dialer
	hedged lateness.Allowance

	mu    sync.Mutex // guards the fields below and what they point to
	sets  map[setKey]*socketSet
	busy  int      // sum over all sets
	queue []*place // Gets that wait; none of them can be admitted now
	// deciding is closed when the latest admitted Get has decided.
	deciding <-chan struct{}
	lastID   int32
	turn     uint64 // number of releases so far
	// answers is how long the answers to Asks took, at most maxAnswers of them.
	answers map[setKey]*lateness.Answers
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

// Get returns a connection to address: an idle one of the same set if the manager says
// so, otherwise a new one. Conn.Reused tells which. Networks, addresses, intents and
// errors are those of Dialer.DialContext, with two restrictions: the network must be
// tcp or udp, and the address must have a host and a port. Without the manager, Get
// reuses the connection that became idle last.
//
// The caller has the connection to itself until it calls Release or Close.
func (p *Pool) Get(ctx context.Context, network, address string) (*Conn, error) {
	return p.get(ctx, network, address, true)
}

// GetNew is Get, but always makes a new connection.
func (p *Pool) GetNew(ctx context.Context, network, address string) (*Conn, error) {
	return p.get(ctx, network, address, false)
}

// GetLike is Get from the set that c is in, or was in before it was closed.
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

// connect waits for the place and then fills it.
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

// fill takes an idle socket for a place, or makes a connection.
func (p *Pool) fill(ctx context.Context, w *place) (*Conn, error) {
	begun := time.Now()
	d, t := p.dialer(), &w.target
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	members, choose := p.offer(w)
	judged := t.selection.needsManager() // then only the manager's word permits reuse
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
		// Meanwhile somebody else took the socket, or the peer closed it.
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
		pl = &plan{} // the socket was made without the manager
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
// sockets at all. It removes those that the peer has closed. It leaves out those in
// use, which nobody else may have.
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

// takeLast marks the socket that became idle last as in use. It returns nil if no
// member is idle any more.
func (p *Pool) takeLast(w *place, members []wire.SetMember) *Conn {
	for _, m := range slices.Backward(members) {
		if s := p.take(w, m.FD); s != nil {
			return s
		}
	}
	return nil
}

// take marks an idle socket as in use and hands the place over to it. It returns nil if
// the socket is not idle any more.
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

// add makes a socket of a new connection, and hands the place over to it.
func (p *Pool) add(w *place, linkID uuid.UUID, conn net.Conn) *Conn {
	info, _ := InfoOf(conn)
	s := &Conn{Conn: conn, dialed: dialed{info}, pool: p, key: w.key, context: w.target.offered(&info)}
	s.context.ID = linkID

	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastID++
	if p.lastID <= 0 { // the number wrapped; the original takes 0 for no socket
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

// Close closes all idle connections, and the connections to the manager if they are the
// Pool's own. Connections in use stay open, and the Pool can still be used. The error
// is always nil.
func (p *Pool) Close() error {
	p.CloseIdle()
	if p.Dialer != nil {
		return nil
	}
	return p.own.Close()
}
