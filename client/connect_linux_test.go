package client

import (
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/wire"
)

// A connection to this host is there before package net connects.
func TestBeginConnect(t *testing.T) {
	for _, tt := range []struct{ network, listen, local string }{
		{"tcp4", "127.0.0.1:0", ""}, {"tcp6", "[::1]:0", ""}, {"tcp4", "127.0.0.1:0", "127.0.0.9"}, {"tcp6", "[::1]:0", "::1"},
	} {
		t.Run(tt.network+" "+tt.local, func(t *testing.T) {
			l, err := net.Listen(tt.network, tt.listen)
			if err != nil {
				t.Skipf("needs %s on loopback: %v", tt.network, err)
			}
			defer func() { _ = l.Close() }()
			begun := 0
			local, _ := netip.ParseAddr(tt.local)
			d := net.Dialer{Control: func(network, address string, raw syscall.RawConn) error {
				begun++
				err := beginConnect(network, address, local, raw)
				if err != nil {
					return err
				}
				if cerr := raw.Control(func(fd uintptr) { _, err = unix.Getpeername(int(fd)) }); cerr != nil {
					return cerr
				}
				return err
			}}
			c, err := d.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if begun != 1 || c.RemoteAddr().String() != l.Addr().String() || local.IsValid() && addrPort(c.LocalAddr()).Addr() != local {
				t.Errorf("connected %v to %v, after %d attempts", c.LocalAddr(), c.RemoteAddr(), begun)
			}
		})
	}
}

// A candidate's attempt that fails has the error of package net, as if that had bound the
// socket.
func TestBoundErrors(t *testing.T) {
	closed := closedPort(t)
	for _, tt := range []struct{ name, local, remote string }{
		{"refused", "127.0.0.9", "127.0.0.1:" + closed},
		{"refused, by IPv6", "::1", "[::1]:" + closed},
		{"an address of another host", "192.0.2.1", "127.0.0.1:" + closed},
		{"an address of another host, by IPv6", "2001:db8::1", "[::1]:" + closed},
		{"a group", "127.0.0.9", "224.0.0.1:80"},
		{"another family", "::1", "127.0.0.1:" + closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			remote, local := netip.MustParseAddrPort(tt.remote), netip.MustParseAddr(tt.local)
			network := "tcp4"
			if remote.Addr().Is6() {
				network = "tcp6"
			}
			plain := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
			_, want := plain.Dial(network, tt.remote)
			c, err := new(Dialer).connect(t.Context(), &target{network: "tcp", typ: wire.SockStream}, &candidate{local: local}, remote)
			if err == nil {
				_ = c.Close()
			}
			if want == nil || err == nil || err.Error() != want.Error() || errnoOf(err) != errnoOf(want) {
				t.Errorf("error %v, want %v", err, want)
			}
		})
	}
}

// An attempt that fails has the error of package net.
func TestConnectErrors(t *testing.T) {
	d := Dialer{Daemon: &Daemon{DecisionTimeout: -1}}
	for _, tt := range []struct{ name, address string }{
		{"refused", "127.0.0.1:" + closedPort(t)},
		{"refused, by IPv6", "[::1]:" + closedPort(t)},
		{"a group", "224.0.0.1:80"},
		{"broadcast", "255.255.255.255:80"},
		{"a zone that is not there", "[fe80::1%none]:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, want := net.Dial("tcp", tt.address)
			if want == nil {
				t.Fatal("package net has connected")
			}
			c, err := d.Dial("tcp", tt.address)
			if err == nil {
				_ = c.Close()
			}
			if err == nil || err.Error() != want.Error() {
				t.Errorf("error %v, want %v", err, want)
			}
		})
	}
}
