package resolve

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// readSize is the size of the largest response that is accepted, if a server sends
	// more than it was asked for.
	readSize = 4096

	headerSize = 12
)

// exchange sends one question to one server and waits for the response. If the response
// is too large for UDP, it asks again over TCP. The question has EDNS, unless the
// server seems to lack it. If the server did not understand EDNS, exchange asks once
// more without. Silence may also mean that. Then the next try goes without EDNS or, if
// there is only one try, its second half.
func (r *Resolver) exchange(ctx context.Context, st *settings, server netip.AddrPort, q question) (*dns.Msg, error) {
	if !r.usesEDNS(server) {
		return r.exchangePlain(ctx, st, server, q, st.timeout)
	}
	within := st.timeout
	if st.attempts == 1 {
		within /= 2
	}
	msg, err := r.exchangeEDNS(ctx, st, server, q, true, within)
	switch {
	case err != nil && (!isTimeout(err) || ctx.Err() != nil):
		return nil, err
	case err != nil:
		r.suspectEDNS(server, true)
		if st.attempts > 1 {
			return nil, err
		}
		return r.exchangePlain(ctx, st, server, q, st.timeout-within)
	case knowsEDNS(msg):
		r.speaksEDNS(server)
		return msg, nil
	case !mistakesEDNS(msg):
		r.lacksEDNS(server, false)
		return msg, nil
	}
	if plain, err := r.exchangeEDNS(ctx, st, server, q, false, st.timeout); err == nil {
		r.lacksEDNS(server, false)
		return plain, nil
	}
	return msg, nil // an answer, even if not the wanted one
}

// exchangePlain asks without EDNS. If a silent server is the reason for that, it learns
// from the result whether EDNS was the cause.
func (r *Resolver) exchangePlain(ctx context.Context, st *settings, server netip.AddrPort, q question, within time.Duration) (*dns.Msg, error) {
	msg, err := r.exchangeEDNS(ctx, st, server, q, false, within)
	switch {
	case err == nil:
		r.lacksEDNS(server, true)
	case isTimeout(err) && ctx.Err() == nil:
		r.suspectEDNS(server, false)
	}
	return msg, err
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (r *Resolver) exchangeEDNS(ctx context.Context, st *settings, server netip.AddrPort, q question, edns bool, within time.Duration) (*dns.Msg, error) {
	query, wire, err := newQuery(q, edns)
	if err != nil {
		return nil, err
	}
	if !st.tcp {
		msg, err := r.roundTrip(ctx, "udp", server, query, wire, within)
		if err != nil || !msg.Truncated {
			return msg, err
		}
	}
	return r.roundTrip(ctx, "tcp", server, query, wire, within)
}

// newQuery makes a query with an id that cannot be guessed (RFC 5452 section 4.3).
func newQuery(q question, edns bool) (*dns.Msg, []byte, error) {
	var id [2]byte
	// The error is ignored, since crypto/rand never fails.
	_, _ = rand.Read(id[:])
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(q.name), q.qtype)
	m.Id = binary.BigEndian.Uint16(id[:])
	if edns {
		m.SetEdns0(ednsSize, false)
	}
	wire, err := m.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("packing the query: %w", err)
	}
	return m, wire, nil
}

// roundTrip sends a query and reads until the response has come. Each query has a
// socket of its own, and so a port that the kernel chose at random. The socket is
// connected, so that the kernel drops packets from others than the server.
func (r *Resolver) roundTrip(ctx context.Context, network string, server netip.AddrPort, query *dns.Msg, wire []byte, within time.Duration) (*dns.Msg, error) {
	deadline := time.Now().Add(within)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := r.dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	// A deadline in the past ends a blocked read. It replaces the deadline above, and
	// only if ctx ends before this function does.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return exchangeTCP(conn, query, wire)
	}
	return exchangeUDP(conn, query, wire)
}

// exchangeUDP ignores every packet that is not the response. It may be forged, and the
// true one may still come.
func exchangeUDP(conn net.Conn, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	buf := make([]byte, readSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if msg := matching(query, buf[:n]); msg != nil {
			return msg, nil
		}
	}
}

// exchangeTCP sends and reads messages with their length (RFC 1035 section 4.2.2).
// Nobody else can write into the connection, so a wrong response is an error.
func exchangeTCP(conn net.Conn, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("reading a response: %w", err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, fmt.Errorf("reading a response: %w", err)
	}
	msg := matching(query, buf)
	if msg == nil {
		return nil, errors.New("response does not fit the query")
	}
	return msg, nil
}

// dial opens a socket to server, bound as the configuration says.
func (r *Resolver) dial(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	// Queries are too short for probes of idle connections.
	d := net.Dialer{KeepAlive: -1}
	from, device := r.cfg.BindTo, r.cfg.Device
	if server.Addr().IsLoopback() {
		device = ""
		if !from.IsLoopback() {
			from = netip.Addr{}
		}
	}
	if from.IsValid() && from.Is4() != server.Addr().Is4() {
		if device == "" {
			return nil, fmt.Errorf("cannot be asked from %v: other address family", from)
		}
		from = netip.Addr{}
	}
	switch {
	case !from.IsValid():
	case network == "tcp":
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	default:
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	if device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			if ofThisHost(server.Addr()) {
				return nil
			}
			return bindToDevice(c, device)
		}
	}
	return r.open(ctx, &d, network, server.String())
}

// ofThisHost tells whether a is an address of this host, on any interface. A socket
// that is bound to a device cannot reach such an address: the kernel uses only the
// routes of that device, and sends to its gateway.
func ofThisHost(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err == nil && !a.IsLinkLocalUnicast() && slices.ContainsFunc(addrs, func(own net.Addr) bool {
		n, ok := own.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	})
}
