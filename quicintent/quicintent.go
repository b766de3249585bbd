// Package quicintent dials QUIC connections over the network that the Multi Access
// Manager chooses. When that network fails, it moves the connections to another one.
//
// A [Dialer] takes the place of quic.DialAddr and quic.DialAddrEarly of
// github.com/quic-go/quic-go. A [RoundTripper] speaks HTTP/3, or TCP if HTTP/3 does not
// get through. The program states by package intent what it knows about its traffic.
//
// # When a connection moves
//
// A connection moves by QUIC's own migration (RFC 9000, section 9): another network is
// probed, and the connection switches to it without losing a byte. This happens
//
//   - at once, when the interface or the address of its socket is gone, or when the manager
//     says that the network is down;
//   - when the network is in doubt, and is still silent after the other one has answered. A
//     network is in doubt if packets that must be acknowledged are not, for a little more
//     than twice the round-trip time, or if a steady flow of packets has stopped;
//   - with [Dialer].MoveToBetter, when for some seconds the manager has found another
//     network better, which costs no more than the present one.
//
// If no other network answers, the connection stays on its network, and QUIC's own idle
// time-out ends it. A server may forbid migration; then its connections are placed but
// never moved.
//
// Without a manager, connections are dialled plainly. A lost interface or address, and
// silence, are noticed all the same, but no other network is known.
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
	"time"

	"github.com/quic-go/quic-go"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
)

// Dialer dials QUIC connections. The zero value is ready to use. It is safe for concurrent
// use, and must not be copied after first use.
type Dialer struct {
	// Client says which manager is asked, with which intents and SelectionProperties.
	// Those in the context of a dial take precedence. nil stands for the zero
	// client.Dialer.
	Client *client.Dialer

	// MoveToBetter tells to move connections also to a better network, and not only
	// away from one that fails.
	MoveToBetter bool

	// Stay tells to keep connections on the network that they were dialled on.
	Stay bool

	// OnMove is called after each attempt to move a connection, on a goroutine of that
	// connection. It must return soon. nil means to call nothing.
	OnMove func(*quic.Conn, Move)

	// Logger gets the attempts to move connections. nil means to log nothing.
	Logger *slog.Logger

	plain client.Dialer
}

func (d *Dialer) client() *client.Dialer {
	if d.Client != nil {
		return d.Client
	}
	return &d.plain
}

// Close closes the Dialer's own idle connections to the manager. It leaves QUIC
// connections alone, and the Dialer can still be used.
func (d *Dialer) Close() error { return d.plain.Close() }

// Dial connects to address, a host and a port, and returns when the handshake is
// complete. The sockets of the connection are closed when the connection ends, by
// CloseWithError or by the peer. If tlsConf has no ServerName, the host is used.
func (d *Dialer) Dial(ctx context.Context, address string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
	return d.dial(ctx, address, tlsConf, conf, (*quic.Transport).Dial)
}

// DialEarly is Dial, but returns before the handshake is complete if data can be sent
// earlier (0-RTT, see quic.DialAddrEarly).
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
	remote, begun := first.socket.Remote(), time.Now()
	conn, err := dial(first.transport, ctx, net.UDPAddrFromAddrPort(remote), tlsConf, conf)
	if err != nil {
		first.close()
		return nil, fmt.Errorf("dial %s over %s: %w", address, first.name(), err)
	}
	m := &mover{
		dialer: d, conn: conn, remote: remote, now: first, first: first,
		selection: client.Selection(ctx), intents: intent.FromContext(ctx),
	}
	select {
	case <-conn.HandshakeComplete():
		now := time.Now()
		m.ledger.connect = now.Sub(begun)
		first.socket.silence.begin(now)
	default: // with 0-RTT the destination has not answered yet
		m.handshake = conn.HandshakeComplete()
	}
	go m.run()
	return conn, nil
}

// named returns a configuration with a ServerName, which is the host if conf has none.
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

// path is a socket on a network, with what QUIC needs there.
type path struct {
	socket    *socket
	transport *quic.Transport
	quic      *quic.Path    // nil for the path of the handshake
	answered  time.Duration // how long the network took to answer the probe; 0: it was not probed
}

// open opens a socket for datagrams to address. If also and ctx say something about the
// same networks, also takes precedence.
func (d *Dialer) open(ctx context.Context, network, address string, also client.SelectionProperties) (*path, error) {
	pc, err := d.client().ListenPacket(client.WithSelection(ctx, also.Merge(client.Selection(ctx))), network, address)
	if err != nil {
		return nil, err
	}
	if !pc.Remote().IsValid() {
		_ = pc.Close()
		return nil, errors.New("quicintent: no address to connect to")
	}
	// Whether another network is better does not depend on which one had to be left.
	pc.SetSelection(client.Selection(ctx).Merge(d.client().Selection))
	s := newSocket(pc)
	return &path{socket: s, transport: &quic.Transport{Conn: s}}, nil
}

// name returns the interface, or the address if the interface is not known.
func (p *path) name() string {
	if name := p.socket.Interface(); name != "" {
		return name
	}
	local, _ := netip.ParseAddrPort(p.socket.LocalAddr().String())
	return local.Addr().String()
}

// at is the interface and the address of the socket, without its port.
func (p *path) at() string {
	local, _ := netip.ParseAddrPort(p.socket.LocalAddr().String())
	return p.socket.Interface() + " " + local.Addr().String()
}

func (p *path) close() {
	_ = p.transport.Close()
	_ = p.socket.Close()
}
