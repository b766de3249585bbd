package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoWay means that there is no way of this name.
var errNoWay = errors.New("no such way")

// odd sends or connects in ways that few programs use.
func odd(how string, to netip.AddrPort, rest []string) error {
	sa := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	first := ""
	if len(rest) > 0 {
		first = rest[0]
	}
	switch how {
	case "kind":
		return kind(first)
	case "handed":
		fd, _ := strconv.Atoi(first)
		return answer(fd, unix.Sendto(fd, []byte("x"), 0, sa))
	case "fixed":
		fd, err := open(unix.SOCK_STREAM, 0)
		port, _ := strconv.Atoi(first)
		return answer(fd, errors.Join(err, unix.Bind(fd, &unix.SockaddrInet4{Port: port}), unix.Connect(fd, sa)))
	case "mptcp":
		fd, err := open(unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
		return answer(fd, errors.Join(err, unix.Connect(fd, sa)))
	}
	return oddDatagram(how, sa, first)
}

// bareDatagram sends to an address without a family, which counts as IPv4.
func bareDatagram(fd int, sa *unix.SockaddrInet4) error {
	b := unix.RawSockaddrInet4{Family: unix.AF_UNSPEC, Addr: sa.Addr}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&b.Port))[:], uint16(sa.Port))
	x := []byte("x")
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&x[0])), 1, 0, uintptr(unsafe.Pointer(&b)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return errno
	}
	return nil
}

// oddDatagram does so with a socket of datagrams.
func oddDatagram(how string, sa *unix.SockaddrInet4, first string) error {
	protocol := 0
	if how == "udplite" {
		protocol = unix.IPPROTO_UDPLITE
	}
	fd, err := open(unix.SOCK_DGRAM, protocol)
	if err != nil {
		return err
	}
	switch how {
	case "udplite":
		if err = unix.Sendto(fd, []byte("x"), 0, sa); err != nil {
			return err
		}
		local, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		fmt.Println(netip.AddrFrom4(local.(*unix.SockaddrInet4).Addr))
		return nil
	case "bare":
		err = bareDatagram(fd, sa)
	case "pktinfo", "pktinfo-late", "pktinfo-peer":
		control := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: netip.MustParseAddr(first).As4()})
		if how == "pktinfo-late" {
			control = append(bytes.Repeat(unix.PktInfo4(&unix.Inet4Pktinfo{}), 50), control...)
		}
		var name unix.Sockaddr = sa
		if how == "pktinfo-peer" {
			name, err = nil, unix.Connect(fd, sa)
		}
		err = errors.Join(err, unix.Sendmsg(fd, []byte("x"), control, name, 0))
	case "pktinfo-unnamed":
		err = errors.Join(unix.Connect(fd, sa), unnamed(fd, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: netip.MustParseAddr(first).As4()})))
	case "several":
		err = several(fd, sa, first)
	case "reconnect":
		other, parseErr := strconv.Atoi(first)
		err = errors.Join(parseErr, unix.Connect(fd, sa), unix.Connect(fd, &unix.SockaddrInet4{Port: other, Addr: sa.Addr}), unix.Send(fd, []byte("x"), 0))
	case "unicast-if":
		i, lookErr := net.InterfaceByName(first)
		if lookErr != nil {
			return lookErr
		}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i.Index))
		err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_UNICAST_IF, int(binary.NativeEndian.Uint32(b[:]))), unix.Sendto(fd, []byte("x"), 0, sa))
	case "device-late":
		err = errors.Join(unix.Connect(fd, sa), unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, first), unix.Send(fd, []byte("x"), 0))
	case "loopback-device":
		err = errors.Join(unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, first), unix.Sendto(fd, []byte("x"), 0, sa))
	case "loopback-message":
		i, lookErr := net.InterfaceByName(first)
		if lookErr != nil {
			return lookErr
		}
		err = unix.Sendmsg(fd, []byte("x"), unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(i.Index)}), sa, 0)
	case "source-route":
		err = errors.Join(unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(sourceRoute(first))), unix.Sendto(fd, []byte("x"), 0, sa))
	case "source-route-late":
		err = errors.Join(unix.Connect(fd, sa), unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(sourceRoute(first))), unix.Send(fd, []byte("x"), 0))
	case "source-route-message":
		err = unix.Sendmsg(fd, []byte("x"), control(unix.IPPROTO_IP, unix.IP_RETOPTS, sourceRoute(first)), sa, 0)
	case "join":
		i, lookErr := net.InterfaceByName(first)
		if lookErr != nil {
			return lookErr
		}
		err = unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: [4]byte{239, 9, 8, 7}, Ifindex: int32(i.Index)})
	case "mark":
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 7), unix.Sendto(fd, []byte("x"), 0, sa))
	default:
		return errNoWay
	}
	return answer(fd, err)
}

// sourceRoute makes options of IPv4 (RFC 791): what is sent goes to another host first.
func sourceRoute(host string) []byte {
	const nothing, loose = 1, 131
	a := netip.MustParseAddr(host).As4()
	return append([]byte{nothing, loose, 3 + byte(len(a)), 4}, a[:]...)
}

// control makes the control data of a message.
func control(level, typ int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func open(typ, protocol int) (int, error) { return unix.Socket(unix.AF_INET, typ, protocol) }

// unnamed sends the peer a message whose name has an address, but no length.
func unnamed(fd int, control []byte) error {
	var name unix.RawSockaddrInet4
	x := []byte("x")
	io := unix.Iovec{Base: &x[0], Len: 1}
	h := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&name)), Iov: &io, Iovlen: 1, Control: &control[0]}
	h.SetControllen(len(control))
	if _, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), 0); errno != 0 {
		return errno
	}
	return nil
}

// several sends to a destination and to another port of it in one call.
func several(fd int, sa *unix.SockaddrInet4, port string) error {
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	x := []byte("x")
	io := unix.Iovec{Base: &x[0], Len: 1}
	var list [2]struct {
		unix.Msghdr
		n uint32
	}
	var names [2]unix.RawSockaddrInet4
	for i, to := range []int{sa.Port, n} {
		names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: sa.Addr}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&names[i].Port))[:], uint16(to))
		list[i].Msghdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&names[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &io, Iovlen: 1}
	}
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&list[0])), 2, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// kind opens a socket of a kind.
func kind(text string) error {
	var family, typ, protocol int
	if _, err := fmt.Sscanf(strings.ReplaceAll(text, ",", " "), "%d %d %d", &family, &typ, &protocol); err != nil {
		return err
	}
	fd, err := unix.Socket(family, typ, protocol)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

// answer prints the server's answer.
func answer(fd int, err error) error {
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "socket")
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil {
		return err
	}
	fmt.Println(strings.TrimSpace(string(b[:n])))
	return f.Close()
}
