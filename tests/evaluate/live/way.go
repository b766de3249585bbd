package live

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

// Kind says who chooses a way's networks.
type Kind string

// The kinds.
const (
	One   Kind = "one"   // nobody: always the same network
	Two   Kind = "mptcp" // the kernel: MPTCP, first over the default network
	First Kind = "first" // the network that answers first, as Happy Eyeballs does
	Asked Kind = "asked" // a daemon, for each object
	New   Kind = "new"   // a daemon, for new connections only
)

// Way is a way to use the networks, as an actor gets to know it.
type Way struct {
	Name   string
	Kind   Kind
	Locals []netip.Addr // the host's addresses, by network
	Net    int          // of kind One
	Socket string       // the daemon's
}

// opener gives a program of a way its connections. It is safe for concurrent use.
type opener struct {
	way  Way
	pool *client.Pool
}

// decisionTimeout is long, so that a moment in which the machine is busy shows in
// a figure and does not end the run; the library's own is 50 ms.
const decisionTimeout = 5 * time.Second

// newOpener makes one that keeps to limits of connections, to a host and in all;
// 0 means none.
func newOpener(w Way, perHost, inAll int) *opener {
	d := &client.Dialer{Daemon: &client.Daemon{Path: w.Socket, DecisionTimeout: decisionTimeout}}
	if w.Kind == One || w.Kind == Two {
		d.Daemon.DecisionTimeout = -1
		d.Net = *w.dialer(w.Net)
	}
	return &opener{way: w, pool: &client.Pool{
		Dialer: d, MaxIdle: maxPerHost, MaxPerSet: perHost, MaxConns: inAll, ReuseFirst: w.Kind != Asked,
	}}
}

// dialer is for one of the way's networks.
func (w *Way) dialer(n int) *net.Dialer {
	d := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.Locals[n], 0))}
	d.SetMultipathTCP(w.Kind == Two)
	return d
}

// flushTimeout is how long a program that ends waits for the daemon to take its reports.
const flushTimeout = 5 * time.Second

// close closes what is idle, and sees that the daemon learns how it went: the program
// may load nothing more.
func (o *opener) close() {
	_ = o.pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = o.pool.Dialer.Daemon.Flush(ctx) // reports that are late are lost, as with any program
	_ = o.pool.Dialer.Daemon.Close()
}

// start asks for a connection to address; those who ask one after the other get
// theirs in that order. The returned function waits for it, and must be called.
func (o *opener) start(ctx context.Context, address string, intents intent.Set) func() (*link, error) {
	if o.way.Kind == First {
		return func() (*link, error) { return o.first(ctx, address) }
	}
	pending := o.pool.Start(intent.NewContext(ctx, intents), "tcp", address)
	return func() (*link, error) {
		s, err := pending.Result()
		if err != nil {
			return nil, err
		}
		return o.link(s)
	}
}

// fresh makes a connection of its own to address.
func (o *opener) fresh(ctx context.Context, address string, intents intent.Set) (*link, error) {
	s, err := o.pool.GetNew(intent.NewContext(ctx, intents), "tcp", address)
	if err != nil {
		return nil, err
	}
	return o.link(s)
}

// link is that of a socket.
func (o *opener) link(s *client.Conn) (*link, error) {
	info, _ := client.InfoOf(s)
	if !info.Decided && (o.way.Kind == Asked || o.way.Kind == New && !info.Reused) {
		_ = s.Close()
		return nil, fmt.Errorf("decision of %s: %w", o.way.Name, info.Err) // a comparison without the daemon would be none
	}
	l, ok := s.Value.(*link)
	if !ok {
		l = newLink(s)
		s.Value = l
	}
	l.reused, l.decided, l.took = info.Reused, info.Decided, info.Duration
	return l, nil
}

// first connects over all networks at once, and keeps no connections.
func (o *opener) first(ctx context.Context, address string) (*link, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := time.Now()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	for n := range o.way.Locals {
		go func() {
			conn, err := o.way.dialer(n).DialContext(ctx, "tcp", address)
			select {
			case results <- result{conn, err}:
			case <-ctx.Done():
				if conn != nil {
					_ = conn.Close()
				}
			}
		}()
	}
	var err error
	for range o.way.Locals {
		r := <-results
		if r.err == nil {
			l := newLink(r.conn)
			l.took = time.Since(begun)
			return l, nil
		}
		err = r.err
	}
	return nil, err
}

// network tells over which network a connection goes, -1 if over none of the way's.
func (o *opener) network(conn net.Conn) int {
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return -1
	}
	local, err := netip.ParseAddr(strings.TrimPrefix(host, "::ffff:"))
	if err != nil {
		return -1
	}
	return slices.Index(o.way.Locals, local)
}
