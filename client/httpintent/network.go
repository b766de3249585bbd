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

// network is one network with its connections. It has an http.Transport of its own, so
// that no request gets a connection of another network.
type network struct {
	transport *Transport
	key       networkKey
	http      *http.Transport

	// The fields below are guarded by transport.mu.
	exchanges int // number under way
	used      time.Time
	retired   bool // it takes no more requests
}

// network returns the network with this key, which it makes if there is none, and
// counts an exchange in it. The caller must call leave.
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

// retireLocked makes n take no more requests; later requests need new connections. The
// connections of n are closed when its last exchange has ended.
func (t *Transport) retireLocked(n *network) {
	n.retired = true
	if t.networks[n.key] == n {
		delete(t.networks, n.key)
	}
	if n.exchanges == 0 {
		go n.http.CloseIdleConnections() // in a goroutine: closing a conn takes the lock that is held here
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

// dial is the dial function of n.http. ctx carries the decision about the request that
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

// conn is an open connection that the Transport keeps count of.
type conn struct {
	net.Conn
	network *network
	address string
	number  uint64 // number of the connection, in the order of making

	// The fields below are guarded by network.transport.mu.
	exchanges   int
	multiplexed bool
}

// NetConn returns the wrapped connection, for client.InfoOf.
func (c *conn) NetConn() net.Conn { return c.Conn }

// ReadFrom passes on to the wrapped connection, which may be able to send a file
// without copying it.
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

// idleLocked lists the connections to address that can take a request. A connection
// counts only if it was made for the same selection, because another selection may
// permit networks that this one forbids. The oldest come first, so that the same
// connections always make the same question, whose answer can be kept.
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

// gotConn is called for each connection that the request is sent over.
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

// info returns the Info of the connection that the request was sent over.
func (x *exchange) info() (client.Info, bool) {
	x.transport.mu.Lock()
	defer x.transport.mu.Unlock()
	if x.conn == nil {
		return client.Info{}, false
	}
	return client.InfoOf(x.conn.Conn)
}

// multiplexed notes that the connection speaks HTTP/2, and so can take further requests
// during this one.
func (x *exchange) multiplexed() {
	x.transport.mu.Lock()
	defer x.transport.mu.Unlock()
	if x.conn != nil {
		x.conn.multiplexed = true
	}
}

// finish ends the exchange. Only the first call has an effect.
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
