package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// serveLoop is the same least server without the net package: one thread waits for all
// descriptors with epoll(7). It shows what a server would gain without that package. It
// is not fit for use, because it loses bytes if a destination is slow.
func serveLoop(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	l := &loop{sessions: map[int]*looped{}, buffer: make([]byte, 64<<10)}
	if l.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(l.listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(l.listener, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(l.listener, 1024); err != nil {
		return os.NewSyscallError("listen", err)
	}
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := l.control(unix.EPOLL_CTL_ADD, l.listener, unix.EPOLLIN); err != nil {
		return err
	}
	return l.run()
}

type loop struct {
	epoll, listener int
	sessions        map[int]*looped // by both descriptors of a session
	buffer          []byte
}

// looped is a session: its stage and its descriptors.
type looped struct {
	stage          func(l *loop, s *looped, fd int) error
	client, remote int
}

var errEnd = errors.New("end of the connection")

func (l *loop) run() error {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:n] {
			fd := int(e.Fd)
			if fd == l.listener {
				err = l.accept()
			} else if s := l.sessions[fd]; s != nil { // otherwise it was closed a moment ago
				if err := s.stage(l, s, fd); err != nil && !errors.Is(err, unix.EAGAIN) {
					l.end(s)
				}
			}
			if err != nil {
				return err
			}
		}
	}
}

func (l *loop) control(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (l *loop) accept() error {
	fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return nil //nolint:nilerr // the client has gone
	}
	l.sessions[fd] = &looped{stage: (*loop).methods, client: fd, remote: -1}
	return l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

func (l *loop) end(s *looped) {
	for _, fd := range []int{s.client, s.remote} {
		if fd >= 0 {
			delete(l.sessions, fd)
			_ = unix.Close(fd)
		}
	}
}

// read reads the bytes that are there.
func (l *loop) read(fd int) ([]byte, error) {
	n, err := unix.Read(fd, l.buffer)
	if err == nil && n == 0 {
		err = errEnd
	}
	return l.buffer[:max(n, 0)], err
}

func (l *loop) methods(s *looped, fd int) error {
	b, err := l.read(fd)
	if err != nil {
		return err
	}
	if len(b) != 3 {
		return fmt.Errorf("%d bytes of methods", len(b))
	}
	s.stage = (*loop).request
	_, err = unix.Write(fd, []byte{5, 0})
	return err
}

func (l *loop) request(s *looped, fd int) error {
	b, err := l.read(fd)
	if err != nil {
		return err
	}
	if len(b) != 10 || b[3] != 1 {
		return fmt.Errorf("not a request for an IPv4 address: %x", b)
	}
	if s.remote, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	l.sessions[s.remote] = s
	err = unix.Connect(s.remote, &unix.SockaddrInet4{Port: int(b[8])<<8 | int(b[9]), Addr: [4]byte(b[4:8])})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	s.stage = (*loop).connected
	return l.control(unix.EPOLL_CTL_ADD, s.remote, unix.EPOLLIN|unix.EPOLLOUT)
}

func (l *loop) connected(s *looped, fd int) error {
	if fd != s.remote {
		return unix.EAGAIN
	}
	if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		return fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(errno)))
	}
	if err := l.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN); err != nil {
		return err
	}
	s.stage = (*loop).relay
	_, err := unix.Write(s.client, []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return err
}

func (l *loop) relay(s *looped, fd int) error {
	b, err := l.read(fd)
	if err != nil {
		return err
	}
	_, err = unix.Write(s.client+s.remote-fd, b)
	return err
}
