package mptcp

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// If the client of a decision does not report, as clients of the original do not, the
// decision is matched to a connection by its addresses, but never to another user's
// connection.
func TestOtherUser(t *testing.T) {
	s := set(t, mptcp.Userspace, `policy "mptcp_simple" {}`+networks)
	from := serveAt(t, s.Bed, 8080, true, 0) // as in the captured request
	request, _ := s.originalRequest(t, from)
	if _, err := exchange(s.daemon.Socket, request); err != nil {
		t.Fatal(err)
	}
	const other = 4711
	if s.dialAs(t, other, from) == nil {
		t.Skip("cannot make sockets for another user: needs root, not only in a user namespace")
	}
	s.dialAs(t, os.Getuid(), from)
	c := s.control()
	defer c.Close()
	s.await(t, "connections of two users", func() string {
		var m control.Multipath
		if _, err := c.Get(t.Context(), "/v1/mptcp", &m); err != nil {
			t.Fatal(err)
		}
		decided := map[uint32]bool{}
		for _, conn := range m.Connections {
			decided[conn.UID] = conn.Decision != nil
		}
		if decided[other] {
			t.Fatalf("another user's connection has taken the decision: %+v", m.Connections)
		}
		if len(decided) != 2 || !decided[uint32(os.Getuid())] {
			return "not seen, or the user's own has no decision"
		}
		return ""
	})
}

// dialAs connects with MPTCP over wlan0, as a user. It returns nil if the process may not
// act for that user.
func (s *stageFor) dialAs(t *testing.T, uid int, to *server) (c net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.Network("wlan0").Client4, 0))}
	d.SetMultipathTCP(true)
	err := s.Client.Do(func() (err error) {
		// This concerns only this thread. The kernel does not say whether it succeeded.
		_ = unix.Setfsuid(uid)
		defer unix.Setfsuid(os.Getuid()) //nolint:errcheck // as before
		if now, _ := unix.SetfsuidRetUid(-1); now != uid {
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, err = d.DialContext(ctx, "tcp", to.addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c != nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c
}
