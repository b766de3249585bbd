package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/socket-intents/mamma/internal/wire"
)

const (
	defaultMaxIdle     = 8
	defaultIdleTimeout = 90 * time.Second // that of http.DefaultTransport
)

// Pool keeps connections for reuse: the socketconnect of the original. Its
// sockets form sets, one for each host, service and transport
// (spec/client-and-socks.md 8). Who wants a connection of a set gets a new one
// or one that is idle, as the Multi Access Manager chooses. The zero value is
// ready to use. A Pool is safe for concurrent use and must not be copied after
// first use.
type Pool struct {
	// Dialer makes the connections. If it is nil, the Pool has its own.
	Dialer *Dialer

	// MaxIdle is how many idle sockets a set keeps, the oldest are closed; 0
	// means 8, a negative value none.
	MaxIdle int

	// IdleTimeout is when an idle socket is closed; 0 means 90 s, a negative
	// value never.
	IdleTimeout time.Duration

	own Dialer

	mu     sync.Mutex
	sets   map[setKey][]*Socket // never empty lists; the longest idle first
	lastID int32
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

// SocketConnect returns a connection to address: an idle one of the same set if
// the manager says so, otherwise a new one. Networks, addresses and intents are
// those of Dialer.DialContext. Without the manager, the socket that became idle
// last is used again.
func (p *Pool) SocketConnect(ctx context.Context, network, address string) (s *Socket, existing bool, err error) {
	return p.socketConnect(ctx, network, address, true)
}

// SocketConnectNew is SocketConnect, but never uses a socket again.
func (p *Pool) SocketConnectNew(ctx context.Context, network, address string) (*Socket, error) {
	s, _, err := p.socketConnect(ctx, network, address, false)
	return s, err
}

// SocketConnectLike is SocketConnect for the set that s is or was of.
func (p *Pool) SocketConnectLike(ctx context.Context, s *Socket) (_ *Socket, existing bool, err error) {
	network := "tcp"
	if s.key.typ == wire.SockDgram {
		network = "udp"
	}
	return p.socketConnect(ctx, network, net.JoinHostPort(s.key.host, s.key.service), true)
}

func (p *Pool) socketConnect(ctx context.Context, network, address string, reuse bool) (*Socket, bool, error) {
	begun := time.Now()
	d := p.dialer()
	ctx, cancel := d.limit(ctx, begun)
	defer cancel()
	t, ok, err := d.newTarget(ctx, network, address)
	if err != nil {
		return nil, false, err
	}
	if !ok {
		return nil, false, fmt.Errorf("socketconnect %s %s: neither a host and service over tcp or udp", network, address)
	}
	key := setKey{t.typ, t.host, strconv.Itoa(int(t.port))}
	var members []wire.SetMember
	choose := false
	if reuse {
		members, choose = p.offer(key, &t)
	}
	pl, err := d.daemon().decide(ctx, t, choose, members)
	if err == nil && pl.reuse {
		if s := p.take(key, pl.existing); s != nil {
			s.info.Reused, s.info.Decided = true, true
			s.info.Reason, s.info.ID = pl.reason, pl.id
			return s, true, nil
		}
		// Somebody else took it, or the peer closed it meanwhile.
		pl, err = d.daemon().decide(ctx, t, false, nil)
	}
	if err != nil {
		d.without(err)
		for i := len(members) - 1; i >= 0; i-- {
			if s := p.take(key, members[i].FD); s != nil {
				s.info.Reused = true
				return s, true, nil
			}
		}
		conn, err := d.dialPlainly(ctx, network, address, begun, err)
		if err != nil {
			return nil, false, err
		}
		return p.add(key, &t, uuid.Nil, conn), false, nil
	}
	conn, err := d.dialPlan(ctx, pl, begun)
	if err != nil {
		return nil, false, err
	}
	return p.add(key, &t, pl.linkID, conn), false, nil
}

// offer lists the idle sockets of a set, and tells whether there is such a set.
// Those that the peer has closed are removed; those in use are nobody else's
// business.
func (p *Pool) offer(key setKey, t *target) (members []wire.SetMember, exists bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Clone(p.sets[key]) {
		if s.state != isIdle || !t.suits(s.info.Remote.Addr(), netip.Addr{}) {
			continue
		}
		if peerClosed(s.Conn) {
			_ = p.closeLocked(s)
			continue
		}
		members = append(members, wire.SetMember{FD: s.id, Context: s.context})
	}
	return members, len(p.sets[key]) > 0
}

// take marks an idle socket as in use. It returns nil if it is not idle any
// more.
func (p *Pool) take(key setKey, id int32) *Socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.sets[key], func(s *Socket) bool { return s.id == id })
	if i < 0 || p.sets[key][i].state != isIdle {
		return nil
	}
	s := p.sets[key][i]
	if peerClosed(s.Conn) {
		_ = p.closeLocked(s)
		return nil
	}
	s.timer.Stop()
	s.state = inUse
	return s
}

// add makes a socket of a new connection.
func (p *Pool) add(key setKey, t *target, linkID uuid.UUID, conn net.Conn) *Socket {
	info, _ := InfoOf(conn)
	s := &Socket{Conn: conn, dialed: dialed{info}, pool: p, key: key, context: t.context()}
	c := &s.context
	c.ID = linkID
	c.Remote = sockAddr(info.Remote)
	c.BindSuggested = sockAddr(netip.AddrPortFrom(info.Local.Addr(), 0)) // it tells the policy the network
	c.Domain, c.Protocol = wire.AFInet6, wire.ProtoTCP
	if info.Remote.Addr().Is4() {
		c.Domain = wire.AFInet
	}
	switch {
	case t.typ == wire.SockDgram:
		c.Protocol = wire.ProtoUDP
	case info.Multipath:
		c.Protocol = wire.ProtoMPTCP
	}
	m := wire.Message{Context: *c}
	m.SetIntents(t.intents)
	*c = m.Context

	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastID++
	if p.lastID <= 0 { // wrapped; 0 is no socket to the original
		p.lastID = 1
	}
	s.id = p.lastID
	if p.sets == nil {
		p.sets = make(map[setKey][]*Socket)
	}
	p.sets[key] = append(p.sets[key], s)
	return s
}

// CloseIdle closes all idle sockets of all sets.
func (p *Pool) CloseIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range p.sets {
		for _, s := range slices.Clone(list) {
			if s.state == isIdle {
				_ = p.closeLocked(s)
			}
		}
	}
}

// Close closes all idle sockets, and the connections to the manager if they are
// the Pool's own. Sockets in use stay open, and the Pool can still be used.
func (p *Pool) Close() error {
	p.CloseIdle()
	if p.Dialer != nil {
		return nil
	}
	return p.own.Close()
}
