package proxy

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel keeps silent clients to itself for a while.
func TestSilentClientsAreDeferred(t *testing.T) {
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	rc, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	if cerr := rc.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if got < deferAccept { // the kernel rounds up to its own steps
		t.Errorf("TCP_DEFER_ACCEPT is %d s, want %d", got, deferAccept)
	}
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	accepted, err := l.Accept() // after the time is over
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	if accepted.RemoteAddr().String() != silent.LocalAddr().String() {
		t.Errorf("accepted %v, want %v", accepted.RemoteAddr(), silent.LocalAddr())
	}
}

// Connections of clients have the keep-alive settings of package net, whoever sets them.
func TestKeepAlive(t *testing.T) {
	own, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	standard, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	without, err := (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]net.Listener{"from the listener": own, "by package net": standard, "one by one": keepAliveListener{without}} {
		t.Run(name, func(t *testing.T) {
			defer func() { _ = l.Close() }()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Write([]byte{5}); err != nil { // a client speaks first
				t.Fatal(err)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = accepted.Close() }()
			rc, err := accepted.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []struct {
				name        string
				level, what int
				want        int
			}{
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
				{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
				{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
				{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			} {
				got := 0
				if cerr := rc.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), o.level, o.what) }); cerr != nil || err != nil {
					t.Fatal(cerr, err)
				}
				if got != o.want {
					t.Errorf("%s is %d, want %d", o.name, got, o.want)
				}
			}
		})
	}
}
