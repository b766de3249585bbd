// Package quicintent dials QUIC connections over the network that the Multi Access Manager
// chooses, and moves them to another one when that network fails.
//
// A [Dialer] takes the place of quic.DialAddr and quic.DialAddrEarly of
// github.com/quic-go/quic-go. A [RoundTripper] speaks HTTP/3, and TCP where HTTP/3 does not
// get through. The program states what it knows about its traffic by package intent.
//
// # When a connection moves
//
// A connection is moved by QUIC's own migration (RFC 9000, section 9): another network is
// probed, and the connection switches to it without losing a byte. This happens
//
//   - when the interface or the address of its socket is gone, or the manager says that the
//     network is down: at once;
//   - when the network is in doubt, because packets that must be acknowledged are not, for
//     twice the round-trip time and a little more, or because a steady flow of packets has
//     stopped: if the network is silent still once the other one has answered;
//   - with [Dialer].MoveToBetter, when the manager has found another network better for
//     some seconds, which costs no more than the present one.
//
// Where nothing else answers, the connection stays where it is, and QUIC's own idle
// time-out ends it. Servers may forbid migration; then connections are placed only.
//
// Without a manager, connections are dialled plainly. The kernel's word on interfaces and
// addresses, and silence, are noticed all the same, but no other network is known to move
// to.
package quicintent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

// Dialer dials QUIC connections. The zero value is ready to use. It is safe for concurrent
// use, and must not be copied after first use.
type Dialer struct {
	// Client says which manager is asked, with which intents and SelectionProperties; those
	// in the context of a dial come first. If it is nil, the zero client.Dialer is used.
	Client *client.Dialer

	// MoveToBetter has connections move to a better network too, not only away from one
	// that fails.
	MoveToBetter bool

	// Stay has connections stay on the network that they were dialled on.
	Stay bool

	// OnMove is called after each attempt to move a connection, on a goroutine of that
	// connection. It must return soon. It may be nil.
	OnMove func(*quic.Conn, Move)

	// Logger is told of attempts to move connections; nil: nobody is.
	Logger *slog.Logger

	plain client.Dialer
}

func (d *Dialer) client() *client.Dialer {
	if d.Client != nil {
		return d.Client
	}
	return &d.plain
}

// Close closes the Dialer's own idle connections to the manager. QUIC connections are not
// touched, and the Dialer can still be used.
func (d *Dialer) Close() error { return d.plain.Close() }

// Dial connects to address, a host and port, and returns when the handshake is complete.
// The connection is over once it is closed, by CloseWithError or by the peer; its sockets
// are closed then. If tlsConf has no ServerName, the host is it.
func (d *Dialer) Dial(ctx context.Context, address string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
	return d.dial(ctx, address, tlsConf, conf, (*quic.Transport).Dial)
}

// DialEarly is Dial, but returns before the handshake is complete where data can be sent
// already (0-RTT, see quic.DialAddrEarly).
func (d *Dialer) DialEarly(ctx context.Context, address string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
	return d.dial(ctx, address, tlsConf, conf, (*quic.Transport).DialEarly)
}

// Dial connects with the zero Dialer.
func Dial(ctx context.Context, address string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
	return new(Dialer).Dial(ctx, address, tlsConf, conf)
}

// DialEarly connects with the zero Dialer.
func DialEarly(ctx context.Context, address string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
	return new(Dialer).DialEarly(ctx, address, tlsConf, conf)
}

type dialFunc = func(*quic.Transport, context.Context, net.Addr, *tls.Config, *quic.Config) (*quic.Conn, error)

func (d *Dialer) dial(ctx context.Context, address string, tlsConf *tls.Config, conf *quic.Config, dial dialFunc) (*quic.Conn, error) {
	tlsConf, err := named(tlsConf, address)
	if err != nil {
		return nil, err
	}
	first, err := d.open(ctx, "udp", address, client.SelectionProperties{})
	if err != nil {
		return nil, err
	}
	remote := first.socket.Remote()
	conn, err := dial(first.transport, ctx, net.UDPAddrFromAddrPort(remote), tlsConf, conf)
	if err != nil {
		first.close()
		return nil, fmt.Errorf("dial %s over %s: %w", address, first.name(), err)
	}
	m := &mover{
		dialer: d, conn: conn, remote: remote, now: first, first: first,
		selection: client.Selection(ctx), intents: intent.FromContext(ctx),
	}
	go m.run()
	return conn, nil
}

// named returns a configuration that has the host as its ServerName if it has none.
func named(conf *tls.Config, address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if conf == nil {
		return nil, errors.New("quicintent: no tls.Config")
	}
	if conf.ServerName == "" {
		conf = conf.Clone()
		conf.ServerName, _, _ = strings.Cut(host, "%")
	}
	return conf, nil
}

// path is a socket on a network, and what QUIC has there.
type path struct {
	socket    *socket
	transport *quic.Transport
	quic      *quic.Path // nil for that of the handshake
}

// open opens a socket for datagrams to address. What also says of networks comes before what
// ctx says of the same ones.
func (d *Dialer) open(ctx context.Context, network, address string, also client.SelectionProperties) (*path, error) {
	pc, err := d.client().ListenPacket(client.WithSelection(ctx, also.Merge(client.Selection(ctx))), network, address)
	if err != nil {
		return nil, err
	}
	if !pc.Remote().IsValid() {
		_ = pc.Close()
		return nil, errors.New("quicintent: no address to connect to")
	}
	s := newSocket(pc)
	return &path{socket: s, transport: &quic.Transport{Conn: s}}, nil
}

// name is the interface, or the address where that is not known.
func (p *path) name() string {
	if name := p.socket.Interface(); name != "" {
		return name
	}
	local, _ := netip.ParseAddrPort(p.socket.LocalAddr().String())
	return local.Addr().String()
}

func (p *path) close() {
	_ = p.transport.Close()
	_ = p.socket.Close()
}
