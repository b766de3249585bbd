package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// hangingDial dials a destination that does not answer until let is closed.
type hangingDial struct {
	begun, given chan struct{} // get a value for each dial that begins, and each that is given up
	let          chan struct{}
}

func newHangingDial() *hangingDial {
	return &hangingDial{begun: make(chan struct{}, 1), given: make(chan struct{}, 1), let: make(chan struct{})}
}

func (h *hangingDial) dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.begun <- struct{}{}
	select {
	case <-ctx.Done():
		h.given <- struct{}{}
		return nil, ctx.Err()
	case <-h.let:
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(testTimeout):
		t.Fatalf("%s did not happen", what)
	}
}

// A dial is given up when its client leaves.
func TestClientLeaves(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		leave         func(*net.TCPConn)
	}{
		{"socks 5, closed", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01", func(c *net.TCPConn) { _ = c.Close() }},
		{"socks 5, reset", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01", func(c *net.TCPConn) { reset(c) }},
		{"socks 4", "\x04\x01\x00\x01\x7f\x00\x00\x01\x00", func(c *net.TCPConn) { _ = c.Close() }},
		{"http connect", "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n", func(c *net.TCPConn) { _ = c.Close() }},
		{"reset behind data", "\x04\x01\x00\x01\x7f\x00\x00\x01\x00", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "data")
			reset(c)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHangingDial()
			p := newProxy(t, Config{Dial: h.dial, Connect: -1, watchAfter: 1})
			c := p.dial(t)
			if _, err := io.WriteString(c, tt.request); err != nil {
				t.Fatal(err)
			}
			await(t, h.begun, "the dial")
			tt.leave(c)
			await(t, h.given, "the end of the dial")
			if e := p.wait(t); !errors.Is(e.err, errLeft) || e.session.SetUp != 0 {
				t.Errorf("ended with %v, set up in %v", e.err, e.session.SetUp)
			}
		})
	}
}

// With plain HTTP, too, a dial is given up when the client leaves.
func TestHTTPClientLeaves(t *testing.T) {
	h := newHangingDial()
	p := newProxy(t, Config{Dial: h.dial, Connect: -1, watchAfter: 1})
	c := p.dial(t)
	if _, err := io.WriteString(c, "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	await(t, h.begun, "the dial")
	_ = c.Close()
	await(t, h.given, "the end of the dial")
}

// A client that closes its direction after some data waits for the answer, and is
// connected.
func TestHalfClosedClientIsConnected(t *testing.T) {
	for _, tt := range []struct{ name, early, late string }{
		{"data with the request", "ping", ""},
		{"data behind the request", "", "ping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			echo := serveEcho(t)
			h := newHangingDial()
			p := newProxy(t, Config{Dial: h.dial, Connect: -1, watchAfter: 1})
			c := p.dial(t)
			if _, err := io.WriteString(c, "\x05\x01\x00\x05\x01\x00"+socks5Addr(echo)+tt.early); err != nil {
				t.Fatal(err)
			}
			await(t, h.begun, "the dial")
			if _, err := io.WriteString(c, tt.late); err != nil {
				t.Fatal(err)
			}
			_ = c.CloseWrite()
			select {
			case <-h.given:
				t.Fatal("the dial was given up")
			case <-time.After(100 * time.Millisecond): // nothing must happen
			}
			close(h.let)
			b, err := io.ReadAll(c)
			if err != nil || len(b) != 2+10+4 || string(b[12:]) != "ping" {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
}

// Waiting for the connection of a BIND ends, too, when the client leaves.
func TestBindClientLeaves(t *testing.T) {
	p := newProxy(t, Config{AllowBind: true, Connect: -1, watchAfter: 1})
	c := p.dial(t)
	if _, err := io.WriteString(c, "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x00"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 2+10)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if e := p.wait(t); !errors.Is(e.err, errLeft) {
		t.Errorf("ended with %v", e.err)
	}
}
