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

// deferAccept is how long the kernel keeps a connection to itself until the client has
// sent something, in seconds (TCP_DEFER_ACCEPT, tcp(7)). Clients of all our protocols
// speak first. So the proxy is woken once for a connection and its first request, and
// not for each of them. A client that stays silent for longer comes after that time.
const deferAccept = 1

// listen opens a listener with keep-alive set. The kernel copies the settings to each
// connection, which saves four system calls per connection.
func listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = setOptions(l, option{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept}) // it only saves time
	if setOptions(l,
		option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	) != nil { // some kernels refuse it for Multipath TCP
		return keepAliveListener{l}, nil
	}
	return l, nil
}

// option is an option of a socket (setsockopt(2)).
type option struct{ level, name, value int }

// setOptions sets options until one of them fails.
func setOptions(l net.Listener, options ...option) error {
	raw, ok := l.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	closed := rc.Control(func(fd uintptr) {
		for _, o := range options {
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
