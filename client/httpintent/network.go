package httpintent

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"

	"github.com/socket-intents/mamma/client"
)

// network holds the connections that the manager's decisions led to one network: an
// http.Transport of its own, so that a request never gets a connection of another.
type network struct {
	transport *Transport
	key       networkKey
	http      *http.Transport

	// Guarded by transport.mu.
	exchanges int // number under way
	used      time.Time
	retired   bool // takes no more requests
}

// network returns the network of the key, made if necessary, and counts an exchange
// in it. The caller must call leave.
func (t *Transport) network(key networkKey) *network {
	base := t.settings()
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.networks[key]
	if n == nil {
		n = &network{transport: t, key: key, http: base.Clone()}
		n.http.DialContext = n.dial
		if t.networks == nil {
			t.networks = make(map[networkKey]*network)
		}
		if len(t.networks) >= maxNetworks {
			t.retireLocked(t.oldestLocked())
		}
		t.networks[key] = n
	}
	n.exchanges++
	n.used = time.Now()
	return n
}

func (t *Transport) oldestLocked() (oldest *network) {
	for _, n := range t.networks {
		if oldest == nil || n.used.Before(oldest.used) {
			oldest = n
		}
	}
	return oldest
}

// retireLocked has n take no more requests: they go to new connections. The
// connections of n are closed once its last exchange has ended.
func (t *Transport) retireLocked(n *network) {
	n.retired = true
	if t.networks[n.key] == n {
		delete(t.networks, n.key)
	}
	if n.exchanges == 0 {
		go n.http.CloseIdleConnections() // not here: closing a conn takes the lock that is held
	}
}

// leave ends an exchange in n.
func (t *Transport) leave(n *network) {
	t.mu.Lock()
	n.exchanges--
	last := n.retired && n.exchanges == 0
	t.mu.Unlock()
	if last {
		n.http.CloseIdleConnections()
	}
}

type decisionKey struct{}

func withDecision(ctx context.Context, d *client.Decision) context.Context {
	return context.WithValue(ctx, decisionKey{}, d)
}

// dial is the dial function of n.http. ctx holds the decision about the request that
// needs the connection (see withDecision).
func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	decision, _ := ctx.Value(decisionKey{}).(*client.Decision)
	if decision == nil {
		return n.transport.dialer().DialContext(ctx, network, address)
	}
	nc, err := decision.Dial(ctx)
	if err != nil {
		return nil, err
	}
	info, _ := client.InfoOf(nc)
	t := n.transport
	c := &conn{Conn: nc, network: n, address: address}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made++
	c.number = t.made
	if elsewhere := info.Candidate != decision.Candidate() && decision.Err() == nil || decision.Existing() != nil && info.Source != n.key.source; elsewhere {
		t.retireLocked(n)
	}
	if t.conns == nil {
		t.conns = make(map[string]map[*conn]bool)
	}
	if t.conns[address] == nil {
		t.conns[address] = make(map[*conn]bool)
	}
	t.conns[address][c] = true
	return c, nil
}

// conn is a connection that is known to the Transport until it is closed.
type conn struct {
	net.Conn
	network *network
	address string
	number  uint64 // in the order they were made

	// Guarded by network.transport.mu.
	exchanges   int
	multiplexed bool
}

// NetConn returns the wrapped connection, for client.InfoOf.
func (c *conn) NetConn() net.Conn { return c.Conn }

// ReadFrom lets files be sent without copying, if the wrapped connection can do that.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	t := c.network.transport
	t.mu.Lock()
	delete(t.conns[c.address], c)
	if len(t.conns[c.address]) == 0 {
		delete(t.conns, c.address)
	}
	t.mu.Unlock()
	return c.Conn.Close()
}

// idleLocked lists connections to address that could take a request. Only those that
// were made for the same selection count: another selection may permit networks that
// this one does not. The oldest come first, so that the same ones make the same
// question.
func (t *Transport) idleLocked(address string, selection client.SelectionProperties) []net.Conn {
	var free []*conn
	for c := range t.conns[address] {
		if (c.exchanges == 0 || c.multiplexed) && !c.network.retired && c.network.key.selection == selection {
			free = append(free, c)
		}
	}
	slices.SortFunc(free, func(a, b *conn) int { return cmp.Compare(a.number, b.number) })
	var idle []net.Conn
	for _, c := range free[:min(len(free), maxOffered)] {
		idle = append(idle, c)
	}
	return idle
}

// exchange is one request and its response.
type exchange struct {
	transport *Transport
	network   *network
	once      sync.Once

	conn *conn // guarded by transport.mu
}

// gotConn is called once for each connection that the request is sent over.
func (x *exchange) gotConn(info httptrace.GotConnInfo) {
	x.transport.mu.Lock()
	defer x.transport.mu.Unlock()
	x.releaseLocked()
	if x.conn = connBelow(info.Conn); x.conn != nil {
		x.conn.exchanges++
	}
}

func (x *exchange) releaseLocked() {
	if x.conn != nil {
		x.conn.exchanges--
		x.conn = nil
	}
}

// info tells of the connection that the request was sent over.
func (x *exchange) info() (client.Info, bool) {
	x.transport.mu.Lock()
	defer x.transport.mu.Unlock()
	if x.conn == nil {
		return client.Info{}, false
	}
	return client.InfoOf(x.conn.Conn)
}

// multiplexed notes that the connection (HTTP/2) can take further requests while this
// one is under way.
func (x *exchange) multiplexed() {
	x.transport.mu.Lock()
	defer x.transport.mu.Unlock()
	if x.conn != nil {
		x.conn.multiplexed = true
	}
}

// finish ends the exchange; only the first call counts.
func (x *exchange) finish() {
	x.once.Do(func() {
		x.transport.mu.Lock()
		x.releaseLocked()
		x.transport.mu.Unlock()
		x.transport.leave(x.network)
	})
}

// connBelow finds the Transport's own connection below TLS.
func connBelow(nc net.Conn) *conn {
	for nc != nil {
		if c, ok := nc.(*conn); ok {
			return c
		}
		u, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		nc = u.NetConn()
	}
	return nil
}
