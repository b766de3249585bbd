package socks

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const tcpClose = 7 // TCP_CLOSE, net/tcp_states.h

// unacknowledged returns how many bytes were written to a connection but are not
// acknowledged by its peer's kernel. The end of the data counts as one byte (SIOCOUTQ,
// tcp(7)). It returns 0 if nc has no descriptor, or if the connection is over.
func unacknowledged(nc net.Conn) (n int, err error) {
	if raw, ok := nc.(syscall.Conn); ok {
		err = control(raw, func(fd uintptr) error {
			if isReset(int(fd)) {
				return nil // the kernel still counts the bytes that it has dropped
			}
			n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
			return os.NewSyscallError("ioctl", err)
		})
	}
	return n, err
}

// isReset tells whether a TCP connection is over. Multipath TCP needs no such look: when it
// is over, it counts nothing. Its TCP_INFO is that of its first subflow, which may be gone
// while others carry the data.
func isReset(fd int) bool {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && protocol == unix.IPPROTO_MPTCP {
		return false
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == tcpClose
}

// unread returns how many bytes have arrived but were not read (SIOCINQ, tcp(7)). It
// returns -1 if that is not known.
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

// hungUp tells whether a connection can neither send nor receive any more.
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
