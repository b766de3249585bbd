package socks

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitReadable waits for a datagram, or an error, so that a buffer is needed
// only when there is something to read. It returns an error when pc is closed.
// If pc has no descriptor, it does not wait.
func waitReadable(pc net.PacketConn) error {
	sc, ok := pc.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Read(func(fd uintptr) bool {
		_, err := peek(fd)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
}

// nextSize returns the size in bytes of the datagram that is read next. ok is false if
// there is none now.
func nextSize(pc net.PacketConn) (size int, ok bool) {
	sc, ok := pc.(syscall.Conn)
	if !ok {
		return 0, false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	var peekErr error
	err = rc.Read(func(fd uintptr) bool {
		size, peekErr = peek(fd)
		return true
	})
	return size, err == nil && peekErr == nil
}

// peek returns the size in bytes of the datagram that a socket has next. It does not wait.
func peek(fd uintptr) (size int, err error) {
	var b [1]byte
	size, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	return size, err
}

// waitGone waits until the peer of nc has closed or reset the connection. A peer
// that has sent data is there, even if it will not send more. It returns false
// when the read deadline passes or nc is closed here, and for what has no
// descriptor.
func waitGone(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == nil && n > 0:
			// Only here a reset after the data shows.
			p := []unix.PollFd{{Fd: int32(fd)}}
			_, err = unix.Poll(p, 0)
			gone = err == nil && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		case err == nil:
			gone = true
		default:
			gone = !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		}
		return gone
	})
	return err == nil && gone
}
