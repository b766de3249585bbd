package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The keep-alive settings that package net uses by default.
const (
	keepAliveIdle     = 15 // seconds
	keepAliveInterval = 15
	keepAliveCount    = 9
)

// listen opens a listener with keep-alive set. The kernel copies the settings to each
// connection, which saves four system calls per connection.
func listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	if setKeepAlive(l) != nil { // some kernels refuse it for Multipath TCP
		return keepAliveListener{l}, nil
	}
	return l, nil
}

func setKeepAlive(l net.Listener) error {
	raw, ok := l.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	closed := rc.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, value int }{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		} {
			if err = unix.SetsockoptInt(int(fd), o.level, o.name, o.value); err != nil {
				err = os.NewSyscallError("setsockopt", err)
				return
			}
		}
	})
	return errors.Join(closed, err)
}

// keepAliveListener sets keep-alive for each connection.
type keepAliveListener struct{ net.Listener }

func (l keepAliveListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	}
	return c, err
}
