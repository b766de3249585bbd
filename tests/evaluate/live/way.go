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
	"github.com/socket-intents/mamma/client/intent"
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

// choice is what was decided for an object.
type choice struct {
	existing net.Conn // to be used again; nil: dial
	dial     func(context.Context) (net.Conn, error)
	took     time.Duration // the decision
}

// chooser carries out a way. It is not safe for concurrent use, what its choices
// dial is.
type chooser struct {
	way    Way
	dialer *client.Dialer
}

// decisionTimeout is long, so that a moment in which the machine is busy shows in
// a figure and does not end the run; the library's own is 50 ms.
const decisionTimeout = 5 * time.Second

func newChooser(w Way) *chooser {
	return &chooser{way: w, dialer: &client.Dialer{Daemon: &client.Daemon{Path: w.Socket, DecisionTimeout: decisionTimeout}}}
}

func (c *chooser) close() { _ = c.dialer.Daemon.Close() }

// choose decides about an object from address, given idle connections to it.
func (c *chooser) choose(ctx context.Context, address string, intents intent.Set, idle []net.Conn) (choice, error) {
	if len(idle) > 0 && c.way.Kind != Asked {
		return choice{existing: idle[0]}, nil
	}
	switch c.way.Kind {
	case One:
		return choice{dial: c.plain(c.way.Locals[c.way.Net], address, false)}, nil
	case Two:
		return choice{dial: c.plain(c.way.Locals[0], address, true)}, nil
	case First:
		return choice{dial: func(ctx context.Context) (net.Conn, error) { return c.first(ctx, address) }}, nil
	}
	begun := time.Now()
	d, err := c.dialer.Decide(client.WithIntents(ctx, intents), "tcp", address, idle...)
	if err == nil {
		err = d.Err() // a comparison without the daemon would be none
	}
	if err != nil {
		return choice{}, fmt.Errorf("decision of %s: %w", c.way.Name, err)
	}
	return choice{existing: d.Existing(), dial: d.Dial, took: time.Since(begun)}, nil
}

func (c *chooser) plain(local netip.Addr, address string, multipath bool) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
		d.SetMultipathTCP(multipath)
		return d.DialContext(ctx, "tcp", address)
	}
}

// first dials over all networks at once.
func (c *chooser) first(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	for _, local := range c.way.Locals {
		dial := c.plain(local, address, false)
		go func() {
			conn, err := dial(ctx)
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
	for range c.way.Locals {
		r := <-results
		if r.err == nil {
			return r.conn, nil
		}
		err = r.err
	}
	return nil, err
}

// network tells over which network a connection goes, -1 if over none of the way's.
func (c *chooser) network(conn net.Conn) int {
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return -1
	}
	local, err := netip.ParseAddr(strings.TrimPrefix(host, "::ffff:"))
	if err != nil {
		return -1
	}
	return slices.Index(c.way.Locals, local)
}
