package socks

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
)

func (denyPort) Allow(context.Context, *Request) error { return nil }

func (d denyPort) AllowAddr(_ context.Context, _ *Request, ap netip.AddrPort) error {
	if ap.Port() == uint16(d) {
		return fmt.Errorf("%w: port %d", ErrNotAllowed, ap.Port())
	}
	return nil
}

// denyName forbids addresses that were asked for by one name.
type denyName string

func (denyName) Allow(context.Context, *Request) error { return nil }

func (d denyName) AllowAddr(ctx context.Context, _ *Request, _ netip.AddrPort) error {
	if DestFrom(ctx).Host == string(d) {
		return ErrNotAllowed
	}
	return nil
}

// allowFunc are Rules that decide by address.
type allowFunc func(*Request, netip.AddrPort) error

func (allowFunc) Allow(context.Context, *Request) error { return nil }

func (f allowFunc) AllowAddr(_ context.Context, r *Request, ap netip.AddrPort) error { return f(r, ap) }

// serveTCP6 accepts connections at ::1 and closes them.
func serveTCP6(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return addrPort(l.Addr())
}

// The unspecified address reaches the host itself, so the rules are asked about
// loopback.
func TestUnspecifiedDestinationIsLoopback(t *testing.T) {
	seen := make(chan netip.AddrPort, 10)
	p := newProxy(t, Config{Rules: allowFunc(func(_ *Request, ap netip.AddrPort) error {
		seen <- ap
		return ErrNotAllowed
	})})
	p.exchange(t, "\x05\x01\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x09", 1)
	if got := <-seen; got != netip.MustParseAddrPort("127.0.0.1:9") {
		t.Errorf("the rules were asked about %v", got)
	}
	if e := p.wait(t); ReplyOf(e.err) != NotAllowed {
		t.Errorf("ended with %v", e.err)
	}
}

// If a dialer does not ask the rules, the address is checked after it has connected.
func TestAddressIsCheckedAfterDialling(t *testing.T) {
	echo := serveEcho(t)
	p := newProxy(t, Config{
		Rules: denyPort(echo.Port()),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, echo.String())
		},
	})
	got := p.exchange(t, "\x05\x01\x00\x05\x01\x00\x03\x01x\x00\x50", 1)
	if want := "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
