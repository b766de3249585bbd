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
	// readSize is what we accept if a server sends more than that.
	readSize = 4096

	headerSize = 12
)

// exchange puts one question to one server and waits for the response, over TCP
// if it is too large for UDP. It is put with EDNS, unless the server seems not to
// have it, and once more without if the server did not understand it. Silence may
// mean that, too: the next try then goes without, or the second half of the only
// one.
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
	return msg, nil // which is an answer all the same
}

// exchangePlain asks without EDNS, and learns from what comes of it if silence
// was the reason to do so.
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
	// It never fails (crypto/rand).
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

// roundTrip sends a query from a socket of its own, hence from a port that the
// kernel chose at random, and reads until the response is there. The socket is
// connected: the kernel drops what others than the server send.
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
	// A deadline in the past ends a blocked read. It is set after the one
	// above, and only if ctx ends before this function does.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return exchangeTCP(conn, query, wire)
	}
	return exchangeUDP(conn, query, wire)
}

// exchangeUDP ignores whatever is not the response: it may be forged, and the
// true one still on its way.
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

// exchangeTCP frames messages by their length (RFC 1035 section 4.2.2). Nobody
// else can write into the connection, so a wrong response is an error.
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

// dial opens a socket towards server, bound as the configuration says.
func (r *Resolver) dial(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error) {
	// Questions and answers are short: no probes of idle connections.
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

// ofThisHost tells whether a is an address of this host, of whatever interface. What a
// socket that is bound to a device sends there leaves by the device: the kernel sees
// the routes of that one only, and takes the one by its gateway.
func ofThisHost(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err == nil && !a.IsLinkLocalUnicast() && slices.ContainsFunc(addrs, func(own net.Addr) bool {
		n, ok := own.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	})
}
