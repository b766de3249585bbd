package sockdiag

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// dial opens a connection to the kernel for the time of the test.
func dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pair opens a connection at an address of this host and returns both ends.
func pair(t *testing.T, network, address string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("needs the address %s: %v", address, err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

// ends returns the addresses of a connection.
func ends(t *testing.T, c net.Conn) (local, remote netip.AddrPort) {
	t.Helper()
	unmap := func(a net.Addr) netip.AddrPort {
		ap := a.(*net.TCPAddr).AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return unmap(c.LocalAddr()), unmap(c.RemoteAddr())
}

func cookieOf(t *testing.T, c net.Conn) (cookie uint64) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) }); err != nil || cookie == 0 {
		t.Fatal(err, cookie)
	}
	return cookie
}

func TestGet(t *testing.T) {
	c := dial(t)
	for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, server := pair(t, "tcp", network)
		if _, err := server.Write(make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		// Bytes that came back in order acknowledge the bytes that were sent before
		// them.
		for conn, n := range map[net.Conn]int{client: 3000, server: 100} {
			if _, err := io.ReadFull(conn, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		local, remote := ends(t, client)
		cookie := cookieOf(t, client)
		s, err := c.Get(unix.IPPROTO_TCP, local, remote, cookie)
		if err != nil {
			t.Fatal(err)
		}
		if s.UID != uint32(os.Getuid()) || s.Inode == 0 || s.State != 1 || s.Cookie != cookie || !s.Counted || s.Received != 3000 {
			t.Errorf("%s: %+v", network, s)
		}
		if _, err := c.Get(unix.IPPROTO_TCP, local, remote, cookie+1); !errors.Is(err, ErrNotFound) {
			t.Errorf("another cookie: %v", err)
		}
		_ = client.Close()
		if s, err = c.Get(unix.IPPROTO_TCP, local, remote, AnyCookie); err != nil || s.Inode != 0 {
			t.Errorf("closed here: %+v, %v", s, err)
		}
		_ = server.Close()
		if _, err := c.Get(unix.IPPROTO_TCP, local, netip.AddrPortFrom(remote.Addr(), 1), AnyCookie); !errors.Is(err, ErrNotFound) {
			t.Errorf("never there: %v", err)
		}
	}
}

// A socket that listens at the address of a connection that is gone is not that connection.
func TestGetFindsNoListener(t *testing.T) {
	c := dial(t)
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	client, err := d.Dial("tcp4", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	local, remote := ends(t, client)
	l, err := net.Listen("tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port()).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if s, err := c.Get(unix.IPPROTO_TCP, local, remote, AnyCookie); err != nil || s.State != 1 {
		t.Errorf("beside a listener: %+v, %v", s, err)
	}
	_ = client.(*net.TCPConn).SetLinger(0)
	_ = client.Close()
	if s, err := c.Get(unix.IPPROTO_TCP, local, remote, AnyCookie); !errors.Is(err, ErrNotFound) {
		t.Errorf("reset: %+v, %v", s, err)
	}
}

// The kernel counts SYN and FIN as one byte each; a connection that carried nothing has
// carried nothing.
func TestGetCountsDataOnly(t *testing.T) {
	c := dial(t)
	client, server := pair(t, "tcp4", "127.0.0.1:0")
	local, remote := ends(t, client)
	check := func(when string, sent, received uint64) {
		t.Helper()
		s, err := c.Get(unix.IPPROTO_TCP, local, remote, AnyCookie)
		if err != nil || !s.Counted || s.Sent != sent || s.Received != received {
			t.Errorf("%s: %+v, %v; want %d sent, %d received", when, s, err, sent, received)
		}
	}
	check("connected", 0, 0)
	if _, err := client.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	check("both have sent", 100, 7)
	if err := server.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	check("the server has no more", 100, 7)
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(make([]byte, messageSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parse(b)
		if err != nil && s != (Socket{}) {
			t.Errorf("%+v beside %v", s, err)
		}
		if !s.Counted && s.Sent+s.Received != 0 {
			t.Errorf("bytes without a count: %+v", s)
		}
	})
}
