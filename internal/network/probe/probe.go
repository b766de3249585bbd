// Package probe asks a network whether it works. A probe connects to an address,
// asks name servers, or fetches a page that shows whether a captive portal
// stands in between. Its sockets are bound to one of the host's prefixes.
//
// The package decides neither when to probe nor what follows from the result.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// ErrPortal means that something else answered in place of the target, as in networks
// whose users must log in.
var ErrPortal = errors.New("a captive portal answers")

// Via is the network path of a probe.
type Via struct {
	Source netip.Addr // the local address
	Device string     // interface to bind to; "" if the source address is enough
	// Lookup resolves the host of a page on the network. If it is nil, only addresses
	// can be used.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial replaces (*net.Dialer).DialContext. It may be nil.
	Dial func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)
}

func (v Via) dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if to.Addr().Is4() != v.Source.Is4() {
		return nil, fmt.Errorf("%v is not of the family of %v", to.Addr(), v.Source)
	}
	d := net.Dialer{KeepAlive: -1, LocalAddr: net.Addr(net.TCPAddrFromAddrPort(netip.AddrPortFrom(v.Source, 0)))}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(v.Source, 0))
	}
	if v.Device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), v.Device) }), err)
		}
	}
	if v.Dial != nil {
		return v.Dial(ctx, &d, network, to.String())
	}
	return d.DialContext(ctx, network, to.String())
}

// TCP connects to an address and closes the connection. A refused connection is
// a success: the refusal is an answer.
func TCP(ctx context.Context, v Via, to netip.AddrPort) error {
	c, err := v.dial(ctx, "tcp", to)
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_ = c.Close()
	return nil
}

// Datagram sends a datagram to an address and waits for no answer. An error means
// that the kernel does not let the datagram out. A TCP connection would not show
// this: the kernel repeats an attempt that the packet filter drops until time is up.
func Datagram(ctx context.Context, v Via, to netip.AddrPort) error {
	c, err := v.dial(ctx, "udp", to)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	_, err = c.Write([]byte{0})
	_ = c.Close()
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// DNS asks the servers in turn for the root's name servers, until one answers. A
// server that cannot reach the root itself (SERVFAIL) does not count as an answer.
// Servers of another address family than the source are passed over. If no server
// is left, DNS returns an error.
func DNS(ctx context.Context, v Via, servers []netip.AddrPort) error {
	err := errors.New("no name server to ask")
	for _, s := range servers {
		if s.Addr().Is4() != v.Source.Is4() || s.Addr().IsLoopback() != v.Source.IsLoopback() {
			continue
		}
		if err = ask(ctx, v, s); err == nil {
			return nil
		}
	}
	return err
}

// tryTime is how long one name server may take. It is short enough to ask several
// servers in one probe.
const tryTime = time.Second

func ask(ctx context.Context, v Via, server netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	c, err := v.dial(ctx, "udp", server)
	if err != nil {
		return fmt.Errorf("ask %v: %w", server.Addr(), err)
	}
	defer func() { _ = c.Close() }()
	m := new(dns.Msg).SetQuestion(".", dns.TypeNS)
	// The library checks the answer's id and question.
	r, _, err := new(dns.Client).ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: c})
	switch {
	case err != nil:
		return fmt.Errorf("ask %v: %w", server.Addr(), err)
	case r.Rcode == dns.RcodeServerFailure:
		return fmt.Errorf("ask %v: it answers %s", server.Addr(), dns.RcodeToString[r.Rcode])
	}
	return nil
}

// HTTP fetches a page that must answer with status 204. Redirections are not
// followed. Any other answer is an error that wraps ErrPortal.
func HTTP(ctx context.Context, v Via, url string) error {
	t := &http.Transport{DisableKeepAlives: true, DialContext: v.dialHost}
	defer t.CloseIdleConnections()
	c := http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	req.Header.Set("User-Agent", "mamma")
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 1024)
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%w: %s has status %d, not 204", ErrPortal, url, resp.StatusCode)
	}
	return nil
}

// dialHost dials the first address of the source's family.
func (v Via) dialHost(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else if v.Lookup == nil {
		return nil, fmt.Errorf("resolve %s: no resolver", host)
	} else if addrs, err = v.Lookup(ctx, host); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if a.Is4() == v.Source.Is4() {
			to, err := netip.ParseAddrPort(net.JoinHostPort(a.String(), port))
			if err != nil {
				return nil, err
			}
			return v.dial(ctx, network, to)
		}
	}
	return nil, fmt.Errorf("%s has no address of the family of %v", host, v.Source)
}
