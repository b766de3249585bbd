package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

// socket is a copy of a program's socket, with its state before anything was done to
// it.
type socket struct {
	fd       int
	v6       bool
	typ      int    // SOCK_STREAM or SOCK_DGRAM
	protocol int    // TCP, MPTCP, UDP or UDP-Lite
	cookie   uint64 // SO_COOKIE: identifies the socket, the same for all copies
	netns    uint64 // SO_NETNS_COOKIE
	source   netip.AddrPort
	device   string
	closed   bool // TCP only: neither connected nor connecting
}

// errKind says that a socket is of a kind that is not placed.
var errKind = errors.New("sockets of this kind are not placed")

// local tells whether sockets of a family reach nothing but this host.
func local(family int) bool {
	return family == unix.AF_UNIX || family == unix.AF_NETLINK || family == unix.AF_ALG
}

// placeable tells whether sockets are of a kind that is placed. protocol is as in
// socket(2): 0 means the usual one of the type.
func placeable(family, typ, protocol int) bool {
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return false
	}
	switch typ {
	case unix.SOCK_STREAM:
		return protocol == 0 || protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP
	case unix.SOCK_DGRAM:
		return protocol == 0 || protocol == unix.IPPROTO_UDP || protocol == unix.IPPROTO_UDPLITE
	}
	return false
}

// inspect looks at a socket. The error is errNoSocket if the descriptor is none, or one
// that reaches nothing but this host; errKind if it is of a kind that is not placed.
func inspect(fd int) (s socket, err error) {
	s.fd = fd
	if err := s.look(); err != nil {
		return s, err
	}
	if s.cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_COOKIE", err)
	}
	if s.netns, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
	}
	if s.device, err = unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil {
		return s, os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
	}
	return s, nil
}

// look finds out of which kind a socket is, its address and its state. It asks for what
// nothing else tells: the address has the family, and a TCP socket without a port is
// neither connected nor connecting. The errors are those of inspect.
func (s *socket) look() error {
	family, name, err := localName(s.fd)
	get := func(option int) (n int) {
		if err == nil {
			n, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, option)
		}
		return n
	}
	if errors.Is(err, unix.EOPNOTSUPP) { // sockets of a family without addresses
		err = nil
		family = get(unix.SO_DOMAIN)
	}
	switch {
	case errors.Is(err, unix.ENOTSOCK), err == nil && local(family):
		return errNoSocket
	case err != nil:
		return fmt.Errorf("look at the socket: %w", err)
	case family != unix.AF_INET && family != unix.AF_INET6:
		return errKind
	}
	s.source, s.v6 = name, family == unix.AF_INET6
	s.protocol, s.typ, s.closed = get(unix.SO_PROTOCOL), get(unix.SO_TYPE), true
	switch {
	case err != nil:
		return fmt.Errorf("look at the socket: %w", os.NewSyscallError("getsockopt", err))
	case !placeable(family, s.typ, s.protocol):
		return errKind
	case s.typ == unix.SOCK_STREAM && name.Port() != 0:
		s.closed = tcpState(s.fd) == tcpClose
	}
	return nil
}

// localName returns the family of a socket and, for IPv4 and IPv6, its local address without
// a zone. unix.Getsockname would ask for the socket's protocol besides.
func localName(fd int) (family int, name netip.AddrPort, err error) {
	var b [unix.SizeofSockaddrInet6]byte
	size := uint32(len(b))
	if _, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return 0, name, os.NewSyscallError("getsockname", errno)
	}
	family = int(binary.NativeEndian.Uint16(b[:]))
	if family == unix.AF_INET || family == unix.AF_INET6 {
		name, err = parseSockaddr(b[:min(size, uint32(len(b)))])
	}
	return family, netip.AddrPortFrom(name.Addr().WithZone(""), name.Port()), err
}

// States of TCP (linux/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpClose       = 7
	tcpListen      = 10
)

// tcpState returns the state of a TCP socket, or of an MPTCP socket's first subflow.
// For an MPTCP socket without a subflow it returns tcpClose.
func tcpState(fd int) uint8 {
	var info unix.TCPInfo
	if tcpInfo(fd, &info) != nil {
		return tcpClose
	}
	return info.State
}

// tcpInfo asks for TCP_INFO (tcp(7)). unix.GetsockoptTCPInfo would take memory for it.
func tcpInfo(fd int, info *unix.TCPInfo) error {
	size := uint32(unix.SizeofTCPInfo)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return os.NewSyscallError("getsockopt TCP_INFO", errno)
	}
	return nil
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
