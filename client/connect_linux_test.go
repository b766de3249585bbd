package client

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection to this host is there before package net connects.
func TestBeginConnect(t *testing.T) {
	for _, tt := range []struct{ network, listen string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		t.Run(tt.network, func(t *testing.T) {
			l, err := net.Listen(tt.network, tt.listen)
			if err != nil {
				t.Skipf("needs %s on loopback: %v", tt.network, err)
			}
			defer func() { _ = l.Close() }()
			begun := 0
			d := net.Dialer{Control: func(network, address string, raw syscall.RawConn) error {
				begun++
				beginConnect(network, address, raw)
				var err error
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
			if begun != 1 || c.RemoteAddr().String() != l.Addr().String() {
				t.Errorf("connected to %v, after %d attempts", c.RemoteAddr(), begun)
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
