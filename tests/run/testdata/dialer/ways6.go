package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// odd6 sends or connects over IPv6 in ways that few programs use.
func odd6(how string, to netip.AddrPort, rest []string) error {
	if !strings.HasSuffix(how, "6") {
		return errNoWay
	}
	first := ""
	if len(rest) > 0 {
		first = rest[0]
	}
	typ := unix.SOCK_DGRAM
	if how == "from6" {
		typ = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_INET6, typ, 0)
	if err != nil {
		return err
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()} // an IPv4 address is mapped
	send := func() error { return unix.Sendto(fd, []byte("x"), 0, sa) }
	switch how {
	case "sendto6":
		err = send()
	case "server6":
		port, _ := strconv.Atoi(first)
		err = errors.Join(unix.Bind(fd, &unix.SockaddrInet6{Port: port}), send())
	case "from6":
		err = errors.Join(unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.MustParseAddr(first).As16()}), unix.Connect(fd, sa))
	case "pktinfo6":
		err = unix.Sendmsg(fd, []byte("x"), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: netip.MustParseAddr(first).As16()}), sa, 0)
	case "pktinfo-interface6":
		i, lookErr := net.InterfaceByName(first)
		if lookErr != nil {
			return lookErr
		}
		err = unix.Sendmsg(fd, []byte("x"), unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(i.Index)}), sa, 0)
	case "pktinfo-peer6":
		err = errors.Join(unix.Connect(fd, sa), unix.Sendmsg(fd, []byte("x"), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: netip.MustParseAddr(first).As16()}), nil, 0))
	case "pktinfo-option6": // it holds for all that the socket sends
		b := make([]byte, unix.SizeofInet6Pktinfo)
		addr := netip.MustParseAddr(first).As16()
		copy(b, addr[:])
		err = errors.Join(unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, string(b)), send())
	case "unicast-if6":
		i, lookErr := net.InterfaceByName(first)
		if lookErr != nil {
			return lookErr
		}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i.Index))
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_IF, int(binary.NativeEndian.Uint32(b[:]))), send())
	case "routing-header6":
		err = errors.Join(unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(routingHeader(first, to.Addr()))), send())
	case "routing-header-message6":
		err = unix.Sendmsg(fd, []byte("x"), control(unix.IPPROTO_IPV6, unix.IPV6_RTHDR, routingHeader(first, to.Addr())), sa, 0)
	case "join6":
		i, lookErr := net.InterfaceByName(first)
		if lookErr != nil {
			return lookErr
		}
		err = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: netip.MustParseAddr("ff15::987").As16(), Interface: uint32(i.Index)})
	case "device-late6":
		err = errors.Join(unix.Connect(fd, sa), unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, first), unix.Send(fd, []byte("x"), 0))
	default:
		return errNoWay
	}
	return answer(fd, err)
}

// routingHeader makes a routing header (RFC 8754): what is sent goes to another host first.
func routingHeader(host string, to netip.Addr) []byte {
	const segmentRouting = 4
	b := []byte{0, 4, segmentRouting, 1, 1, 0, 0, 0} // two segments, the first of them is the last in the list
	for _, a := range []netip.Addr{to, netip.MustParseAddr(host)} {
		b = append(b, a.AsSlice()...)
	}
	return b
}
