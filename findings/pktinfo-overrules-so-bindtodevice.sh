#!/usr/bin/env bash
# Linux (seen with 6.18), 64 bits, golang.org/x/sys v0.49.0, iproute2 6.1.0 (Debian 12)
#
# Expected: what a socket that is bound to a device (SO_BINDTODEVICE) sends leaves by
# that device. An IP_PKTINFO or IPV6_PKTINFO message that names another interface is an
# error, in both families.
#
# Seen: IPv6 says EINVAL. IPv4 sends by the interface of the message, with that one's
# source address, also from a connected socket that keeps telling the other one. QUIC
# libraries send such messages: they answer by the interface a packet came in by.
#   ipv4 plain: on v2 from 198.51.100.20
#   ipv4 with IP_PKTINFO for v0: on v0 from 192.0.2.20
#   ipv4 connected, own address 198.51.100.20, with IP_PKTINFO for v0: on v0 from 192.0.2.20
#   ipv6 with IPV6_PKTINFO for v0: invalid argument
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func index(name string) int {
	l, err := net.InterfaceByName(name)
	check(err)
	return l.Index
}

// tap sees the IPv4 packets that come in by a device.
func tap(name string) int {
	const ip = 0x0008 // ETH_P_IP in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	check(err)
	check(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: index(name)}))
	return fd
}

func socket(domain int) int {
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM, 0)
	check(err)
	check(unix.BindToDevice(fd, "v2"))
	return fd
}

// control is a control message of a length that has the index of v0 at an offset.
func control(level, typ, length, at int) []byte {
	b := make([]byte, unix.CmsgSpace(length))
	header := unix.CmsgLen(0)
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(length)))
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(typ))
	binary.NativeEndian.PutUint32(b[header+at:], uint32(index("v0")))
	return b
}

func main() {
	taps := []unix.PollFd{{Fd: int32(tap("v1")), Events: unix.POLLIN}, {Fd: int32(tap("v3")), Events: unix.POLLIN}}
	where := func() string {
		_, err := unix.Poll(taps, 5000)
		check(err)
		for i, t := range taps {
			if t.Revents != 0 {
				b := make([]byte, 100)
				_, err := unix.Read(int(t.Fd), b)
				check(err)
				return fmt.Sprintf("on v%d from %v", 2*i, netip.AddrFrom4([4]byte(b[12:16])))
			}
		}
		return "nothing sent"
	}
	to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 77}}
	info := control(unix.IPPROTO_IP, unix.IP_PKTINFO, 12, 0)

	fd := socket(unix.AF_INET)
	check(unix.Sendto(fd, []byte("x"), 0, to))
	fmt.Println("ipv4 plain:", where())
	check(unix.Sendmsg(fd, []byte("x"), info, to, 0))
	fmt.Println("ipv4 with IP_PKTINFO for v0:", where())

	fd = socket(unix.AF_INET)
	check(unix.Connect(fd, to))
	sa, err := unix.Getsockname(fd)
	check(err)
	check(unix.Sendmsg(fd, []byte("x"), info, nil, 0))
	own := netip.AddrFrom4(sa.(*unix.SockaddrInet4).Addr)
	fmt.Printf("ipv4 connected, own address %v, with IP_PKTINFO for v0: %s\n", own, where())

	b := control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, 20, 16)
	err = unix.Sendmsg(socket(unix.AF_INET6), []byte("x"), b, &unix.SockaddrInet6{Port: 9, Addr: netip.MustParseAddr("2001:db8::77").As16()}, 0)
	fmt.Println("ipv6 with IPV6_PKTINFO for v0:", err)
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
cat > host <<'HOST'
set -euo pipefail
for i in 0 2; do
	ip link add "v$i" type veth peer name "v$((i + 1))"
	ip link set "v$i" up
	ip link set "v$((i + 1))" up
done
ip addr add 192.0.2.20/24 dev v0
ip addr add 198.51.100.20/24 dev v2
ip -6 addr add 2001:db8::20/64 dev v0 nodad
ip route add default via 198.51.100.1
ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:02 dev v0
ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:02 dev v2
for i in 0 2; do # what is sent before is dropped
	until ip link show "v$i" | grep -q 'state UP'; do sleep 0.1; done
done
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = 'ipv4 plain: on v2 from 198.51.100.20
ipv4 with IP_PKTINFO for v0: on v0 from 192.0.2.20
ipv4 connected, own address 198.51.100.20, with IP_PKTINFO for v0: on v0 from 192.0.2.20
ipv6 with IPV6_PKTINFO for v0: invalid argument'
echo "as described"
