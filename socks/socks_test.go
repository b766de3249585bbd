package socks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// testTimeout is longer than anything here takes, even on a busy machine.
const testTimeout = 20 * time.Second

// testProxy is a running Server, with what its hooks have reported.
type testProxy struct {
	*Server
	addr     netip.AddrPort
	ended    chan end
	rejected chan error
}

type end struct {
	session *Session
	err     error
}

// newProxy runs a Server with configuration c on a loopback port until the test ends.
func newProxy(t testing.TB, c Config) *testProxy {
	t.Helper()
	p := &testProxy{ended: make(chan end, 10_000), rejected: make(chan error, 10_000)}
	c.Hooks.Ended = func(s *Session, err error) { p.ended <- end{s, err} }
	c.Hooks.Rejected = func(_ netip.AddrPort, err error) { p.rejected <- err }
	if c.Rules == nil {
		c.Rules = everything{}
	}
	if c.watchAfter == 0 {
		c.watchAfter = -1 // clients of these tests fall silent early, and a busy machine serves them late
	}
	if _, test := t.(*testing.T); test && c.parkAfter == 0 {
		c.parkAfter = time.Millisecond // so that whatever is relayed has been parked meanwhile
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Server = New(c)
	p.addr = addrPort(l.Addr())
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		_ = p.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return p
}

func (p *testProxy) wait(t testing.TB) end {
	t.Helper()
	select {
	case e := <-p.ended:
		return e
	case <-time.After(testTimeout):
		t.Fatal("the request did not end")
	}
	panic("unreachable")
}

func (p *testProxy) waitRejected(t testing.TB) error {
	t.Helper()
	select {
	case err := <-p.rejected:
		return err
	case <-time.After(testTimeout):
		t.Fatal("the client was not rejected")
	}
	panic("unreachable")
}

// dial connects a client to the proxy.
func (p *testProxy) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// serveTCP calls f for each connection to a loopback port.
func serveTCP(t testing.TB, f func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]struct{}{}
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = struct{}{}
			mu.Unlock()
			running.Go(func() {
				f(c.(*net.TCPConn))
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return addrPort(l.Addr())
}

// serveEcho sends back whatever it receives, and the end as well.
func serveEcho(t testing.TB) netip.AddrPort {
	return serveTCP(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		_ = c.CloseWrite()
	})
}

// closedPort returns an address that refuses connections.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return addrPort(l.Addr())
}

// socks5Addr returns an address in the format of SOCKS 5.
func socks5Addr(ap netip.AddrPort) string { return string(appendAddr(nil, ap)) }

func port(ap netip.AddrPort) string {
	return string([]byte{byte(ap.Port() >> 8), byte(ap.Port())})
}

// exchange sends text and returns everything that comes back. It sends text in several
// pieces, as a network may deliver it.
func (p *testProxy) exchange(t *testing.T, text string, pieces int) string {
	t.Helper()
	c := p.dial(t)
	var got bytes.Buffer
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(&got, c)
		done <- err
	}()
	for n := (len(text) + pieces - 1) / pieces; len(text) > 0; {
		k := min(n, len(text))
		if _, err := io.WriteString(c, text[:k]); err != nil {
			break // the proxy has read enough
		}
		text = text[k:]
	}
	_ = c.CloseWrite()
	if err := <-done; err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("read: %v (got %q)", err, got.String())
	}
	return got.String()
}

// fakeNames returns a dial function that resolves names by a table.
func fakeNames(names map[string]string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err != nil {
			ip, ok := names[host]
			if !ok {
				return nil, &net.DNSError{Name: host, Err: "no such host", IsNotFound: true}
			}
			host = ip
		}
		if host == "192.0.2.99" { // takes connections but never answers
			<-ctx.Done()
			return nil, ctx.Err()
		}
		d := net.Dialer{ControlContext: CheckDial}
		return d.DialContext(ctx, network, net.JoinHostPort(host, port))
	}
}

// ipv6 tells whether loopback has IPv6.
func ipv6(t testing.TB) bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func needIPv6(t testing.TB) {
	if !ipv6(t) {
		t.Skip("needs IPv6 on loopback")
	}
}
