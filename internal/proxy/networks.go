package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/socket-intents/mamma/client"
)

// networks follows what the manager says of the networks while associations need it. It is
// safe for concurrent use.
type networks struct {
	dialer *client.Dialer
	latest atomic.Pointer[news]

	mu     sync.Mutex
	users  int // sockets of associations
	cancel context.CancelFunc
}

// news is what the manager has said last.
type news struct {
	number uint64 // of the news, from 1
	list   []client.Network
}

// enter says that a socket of an association needs the news, until leave.
func (n *networks) enter() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users++; n.users > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go n.follow(ctx)
}

// leave ends the watch with the last socket: a proxy without associations wakes nobody.
func (n *networks) leave() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users--; n.users == 0 {
		n.cancel()
	}
}

func (n *networks) follow(ctx context.Context) {
	for list, err := range n.dialer.Watch(ctx, "udp", 0) {
		if err != nil {
			list = nil // the manager is gone, and nothing is known of its networks
		}
		n.tell(ctx, list)
	}
}

// tell makes list the latest news, unless this watch has ended and another one tells.
func (n *networks) tell(ctx context.Context, list []client.Network) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ctx.Err() == nil {
		n.latest.Store(&news{number: n.number() + 1, list: list})
	}
}

// number is that of the latest news; 0: none.
func (n *networks) number() uint64 {
	if l := n.latest.Load(); l != nil {
		return l.number
	}
	return 0
}

// of tells whether the network of a local address is among them and works, and whether
// another one of its family is up, and may be used.
func (l *news) of(local netip.Addr) (listed, works, other bool) {
	for i := range l.list {
		n := &l.list[i]
		switch {
		case n.Prefix.Addr().Is4() != local.Is4():
		case slices.Contains(n.Addrs, local) || n.Prefix.Contains(local):
			listed, works = true, works || n.State != client.NetworkDown
		default:
			other = other || n.State == client.NetworkUp && n.Usable
		}
	}
	return listed, works, other
}

// lost tells whether the latest news has the network of a local address, as one that is
// down while another one can be used.
func (n *networks) lost(local netip.Addr) bool {
	latest := n.latest.Load()
	if latest == nil || !local.IsValid() {
		return false
	}
	listed, works, other := latest.of(local.Unmap().WithZone(""))
	return listed && !works && other
}

// listening is a socket of an association.
type listening struct {
	*net.UDPConn
	heard    func()    // called for each datagram that comes; nil: nobody wants to know
	networks *networks // nil: its network was not chosen by the manager
	local    netip.Addr
	leave    func()

	// seen is the number of the news by which gone was found. What was so when the socket
	// was opened has been decided on already.
	mu    sync.Mutex
	seen  uint64
	known bool // the manager has listed the network
	gone  bool // the manager has said that the network is down, or does not list it any more
}

// listen makes a listening of pc. source is the address that pc is bound to; it is
// invalid if there is none. seen is the number of the news before the manager was asked.
func (n *networks) listen(pc *net.UDPConn, source netip.Addr, seen uint64, heard func()) *listening {
	l := &listening{UDPConn: pc, heard: heard}
	if source.IsValid() {
		l.networks, l.local = n, source.Unmap().WithZone("")
		l.seen = seen
		n.enter()
		l.leave = sync.OnceFunc(n.leave)
	}
	return l
}

// ReadFrom is the method by which package socks receives.
func (l *listening) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := l.UDPConn.ReadFrom(b)
	if err == nil && l.heard != nil {
		l.heard()
	}
	return n, from, err
}

// WriteTo is the method by which package socks sends. It fails after the manager has said
// that the network of the socket is down and another one is up: then package socks asks for
// another socket at once, and does not wait for answers that will not come.
func (l *listening) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.networks != nil && l.failed() {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: l.LocalAddr(), Addr: to, Err: syscall.ENETDOWN}
	}
	return l.UDPConn.WriteTo(b, to)
}

// failed looks at the news, if there are any.
func (l *listening) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if latest := l.networks.latest.Load(); latest != nil && latest.number != l.seen {
		listed, works, other := latest.of(l.local)
		l.known = l.known || listed
		l.seen, l.gone = latest.number, other && l.known && !works
	}
	return l.gone
}

// Close closes the socket.
func (l *listening) Close() error {
	if l.leave != nil {
		l.leave()
	}
	return l.UDPConn.Close()
}
