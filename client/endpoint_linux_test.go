package client

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An Endpoint makes sockets with the functions of package net.
func TestEndpointControl(t *testing.T) {
	s := startServer(t)
	priority := SocketOption{Level: unix.SOL_SOCKET, Name: unix.SO_PRIORITY, Value: []byte{3, 0, 0, 0}}
	e := Endpoint{Source: netip.MustParseAddr("127.0.0.5"), Remote: netip.MustParseAddrPort("127.0.0.1:" + s.port), Options: []SocketOption{priority}}
	check := func(t *testing.T, c syscall.Conn) {
		t.Helper()
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY); err != nil || got != 3 {
				t.Errorf("priority %d (%v), want 3", got, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("net.Dialer", func(t *testing.T) {
		d := net.Dialer{LocalAddr: e.LocalAddr("tcp"), Control: e.Control}
		nc, err := d.DialContext(t.Context(), "tcp", e.Remote.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		check(t, nc.(*net.TCPConn))
		if peer := (<-s.peers).String(); peer != "127.0.0.5" {
			t.Errorf("from %s", peer)
		}
	})
	t.Run("net.ListenConfig", func(t *testing.T) {
		lc := net.ListenConfig{Control: e.Control}
		pc, err := lc.ListenPacket(t.Context(), "udp", e.LocalAddr("udp").String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pc.Close() }()
		check(t, pc.(*net.UDPConn))
		if a := addrPort(pc.LocalAddr()); a.Addr() != e.Source || a.Port() == 0 {
			t.Errorf("bound to %v", a)
		}
	})
	for _, optional := range []bool{false, true} {
		bad := Endpoint{Options: []SocketOption{{Level: 4711, Name: 1, Value: []byte{1}, Optional: optional}}}
		d := net.Dialer{Control: bad.Control}
		nc, err := d.DialContext(t.Context(), "tcp", e.Remote.String())
		if err == nil {
			_ = nc.Close()
		}
		if optional != (err == nil) || err != nil && !errors.Is(err, unix.ENOPROTOOPT) && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("optional %v: error %v", optional, err)
		}
	}
	if a := (Endpoint{}).LocalAddr("tcp"); a != nil {
		t.Errorf("without a source %v", a)
	}
	if a := e.LocalAddr("unix"); a != nil {
		t.Errorf("for another network %v", a)
	}
}

func TestPing(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path).Daemon
	if err := d.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("a ping is %d requests", n)
	}
	f.stop()
	if err := d.Ping(t.Context()); err == nil {
		t.Error("no error without a manager")
	}
}
