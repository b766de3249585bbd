package socks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/sockdiag"
)

// overMPTCP returns a dialer that uses Multipath TCP.
func overMPTCP() *net.Dialer {
	d := &net.Dialer{ControlContext: CheckDial}
	d.SetMultipathTCP(true)
	return d
}

// needMPTCP skips the test if connections over loopback cannot use Multipath TCP.
func needMPTCP(t *testing.T) {
	t.Helper()
	echo := serveEcho(t)
	c, err := overMPTCP().DialContext(t.Context(), "tcp", echo.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if ok, err := c.(*net.TCPConn).MultipathTCP(); !ok || err != nil {
		t.Skipf("needs Multipath TCP (CONFIG_MPTCP, net.mptcp.enabled): %v", err)
	}
}

// MPTCP sockets are relayed like others: between two of them, and between one of them
// and a TCP socket. Whether they can be spliced does not matter.
func TestTransferOverMPTCP(t *testing.T) {
	needMPTCP(t)
	const size = 8 << 20 // enough for splicing to begin
	for _, tt := range []struct {
		name            string
		client, towards bool // over Multipath TCP
	}{
		{"towards the destination", false, true},
		{"from the client", true, false},
		{"both", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up, down := make(chan []byte, 1), make(chan []byte, 1)
			atDest := make(chan error, 2)
			send := func(c *net.TCPConn, seed uint64, sum chan<- []byte) error {
				s, err := stream(c, seed, size)
				sum <- s
				return errors.Join(err, c.CloseWrite())
			}
			dest := serveTCP(t, func(c *net.TCPConn) {
				sent := make(chan error, 1)
				go func() { sent <- send(c, 1, down) }()
				err := compare(c, up)
				atDest <- errors.Join(err, <-sent)
			})
			p := newProxy(t, Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				d := overMPTCP()
				d.SetMultipathTCP(tt.towards)
				return d.DialContext(ctx, network, address)
			}})
			d := overMPTCP()
			d.SetMultipathTCP(tt.client)
			nc, err := d.DialContext(t.Context(), "tcp", p.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			c := nc.(*net.TCPConn)
			t.Cleanup(func() { _ = c.Close() })
			if err := c.SetDeadline(time.Now().Add(testTimeout)); err != nil {
				t.Fatal(err)
			}
			p.throughConn(t, c, dest.String())
			sent := make(chan error, 1)
			go func() { sent <- send(c, 2, up) }()
			if err := compare(c, down); err != nil {
				t.Errorf("down: %v", err)
			}
			if err := <-sent; err != nil {
				t.Errorf("up: %v", err)
			}
			if err := <-atDest; err != nil {
				t.Errorf("at the destination: %v", err)
			}
			e := p.wait(t)
			if e.err != nil || e.session.Sent() != size || e.session.Received() != size {
				t.Errorf("sent %d, received %d, %v; want %d", e.session.Sent(), e.session.Received(), e.err, size)
			}
		})
	}
}

// What waits to be sent by Multipath TCP still counts when the first subflow is gone,
// because others can carry it.
func TestUnacknowledgedWithoutFirstSubflow(t *testing.T) {
	needMPTCP(t)
	d, err := sockdiag.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := d.Able(); errors.Is(err, sockdiag.ErrRights) || errors.Is(err, sockdiag.ErrUnsupported) {
		t.Skipf("needs to end connections (CAP_NET_ADMIN, CONFIG_INET_DIAG_DESTROY): %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	dest := serveTCP(t, func(*net.TCPConn) { <-over }) // reads nothing
	c, err := overMPTCP().DialContext(t.Context(), "tcp", dest.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(over); _ = c.Close() })
	if err := c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	before, err := unacknowledged(c)
	if before == 0 || err != nil {
		t.Fatalf("%d, %v; want what the destination has no room for", before, err)
	}
	local := addrPort(c.LocalAddr())
	subflows, err := d.Established([]netip.Addr{local.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	gone := 0
	for _, e := range subflows {
		if e.Local == local {
			gone++
			if err := d.Destroy(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if gone != 1 {
		t.Fatalf("%d subflows from %v; want 1", gone, local)
	}
	if n, err := unacknowledged(c); n == 0 || err != nil {
		t.Errorf("%d, %v; want what waited before, %d", n, err, before)
	}
}
