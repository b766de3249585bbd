package socks

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
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
