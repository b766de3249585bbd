package socks

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const tcpClose = 7 // TCP_CLOSE, net/tcp_states.h

// unacknowledged counts the bytes that were written to a connection and that its
// peer's kernel has not said to have, the end counting as one (SIOCOUTQ, tcp(7)).
// It is 0 for what has no descriptor, and for a connection that is over.
func unacknowledged(nc net.Conn) (n int, err error) {
	if raw, ok := nc.(syscall.Conn); ok {
		err = control(raw, func(fd uintptr) error {
			// What a reset connection had to send is dropped, but still counted.
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err == nil && info.State == tcpClose {
				return nil
			}
			n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			return os.NewSyscallError("ioctl", err)
		})
	}
	return n, err
}

// unread counts the bytes that have come and were not read (SIOCINQ, tcp(7)); -1 where
// that is not known.
func unread(nc net.Conn) int {
	raw, ok := nc.(syscall.Conn)
	if !ok {
		return -1
	}
	n := -1
	if control(raw, func(fd uintptr) (err error) {
		n, err = unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		return err
	}) != nil {
		return -1
	}
	return n
}

// hungUp tells that a connection can neither send nor receive any more.
func hungUp(nc net.Conn) bool {
	gone := false
	if raw, ok := nc.(syscall.Conn); ok {
		_ = control(raw, func(fd uintptr) error {
			p := []unix.PollFd{{Fd: int32(fd)}}
			_, err := unix.Poll(p, 0)
			gone = err == nil && p[0].Revents&unix.POLLHUP != 0
			return err
		})
	}
	return gone
}

func control(c syscall.Conn, f func(fd uintptr) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(fd) }); err != nil {
		return err
	}
	return ferr
}
