package placement

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

// socket is a copy of a program's socket, with its state before anything was done to
// it.
type socket struct {
	fd       int
	v6       bool
	typ      int    // SOCK_STREAM or SOCK_DGRAM
	protocol int    // TCP, UDP or MPTCP
	cookie   uint64 // SO_COOKIE: identifies the socket, the same for all copies
	netns    uint64 // SO_NETNS_COOKIE
	source   netip.AddrPort
	device   string
	closed   bool // TCP only: neither connected nor connecting
}

// inspect looks at a socket. An error means that the descriptor is no socket, or is of
// a kind that is not placed.
func inspect(fd int) (s socket, err error) {
	s.fd = fd
	get := func(level, option int) int {
		n, e := unix.GetsockoptInt(fd, level, option)
		err = errors.Join(err, e)
		return n
	}
	domain := get(unix.SOL_SOCKET, unix.SO_DOMAIN)
	s.typ, s.protocol = get(unix.SOL_SOCKET, unix.SO_TYPE), get(unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return s, fmt.Errorf("look at the socket: %w", os.NewSyscallError("getsockopt", err))
	}
	s.v6 = domain == unix.AF_INET6
	stream := s.typ == unix.SOCK_STREAM && (s.protocol == unix.IPPROTO_TCP || s.protocol == unix.IPPROTO_MPTCP)
	datagram := s.typ == unix.SOCK_DGRAM && s.protocol == unix.IPPROTO_UDP
	if domain != unix.AF_INET && !s.v6 || !stream && !datagram {
		return s, errNoSocket
	}
	if s.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_COOKIE", err)
	}
	if s.netns, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return s, os.NewSyscallError("getsockname", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		s.source = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		s.source = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	if s.device, err = unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
	}
	s.closed = s.typ == unix.SOCK_DGRAM || tcpState(fd) == tcpClose
	return s, nil
}

// States of TCP (linux/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpClose       = 7
)

// tcpState returns the state of a TCP socket, or of an MPTCP socket's first subflow.
// For an MPTCP socket without a subflow it returns tcpClose.
func tcpState(fd int) uint8 {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return tcpClose
	}
	return info.State
}

// ownNetns returns the cookie of this process's network namespace.
func ownNetns() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return c, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
}

// bind binds the socket as the endpoint says. A socket that already has a source was
// placed for an earlier notification of the same call, and is left alone.
func (s *socket) bind(e client.Endpoint) error {
	if err := e.Control(s.network(), "", raw(s.fd)); err != nil {
		return err
	}
	if !e.Source.IsValid() {
		return nil
	}
	var sa unix.Sockaddr
	if s.v6 {
		sa = &unix.SockaddrInet6{Addr: e.Source.As16()}
	} else {
		sa = &unix.SockaddrInet4{Addr: e.Source.As4()}
	}
	if err := unix.Bind(s.fd, sa); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("bind to %v: %w", e.Source, os.NewSyscallError("bind", err))
	}
	return nil
}

// bindDevice binds the socket to an interface.
func (s *socket) bindDevice(name string) error {
	if err := unix.SetsockoptString(s.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name); err != nil {
		return fmt.Errorf("bind to interface %s: %w", name, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err))
	}
	return nil
}

// network returns the socket's transport in the words of package net.
func (s *socket) network() string {
	if s.typ == unix.SOCK_DGRAM {
		return "udp"
	}
	return "tcp"
}

// raw is the socket in the form in which packages of the standard library pass one on.
type raw int

func (r raw) Control(f func(fd uintptr)) error { f(uintptr(r)); return nil }
func (raw) Read(func(uintptr) bool) error      { return errors.ErrUnsupported }
func (raw) Write(func(uintptr) bool) error     { return errors.ErrUnsupported }
