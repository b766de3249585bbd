#!/usr/bin/env bash
# Linux (seen with 6.18), golang.org/x/sys v0.49.0, iproute2 6.1.0 (Debian 12)
#
# Expected: IP_UNICAST_IF and IPV6_UNICAST_IF, which need no privilege, choose the
# interface of a socket's outgoing packets, for TCP as for UDP; a socket that cannot
# obey says so.
#
# Seen: both families' UDP sockets obey at connect. TCP sockets accept the option, give
# it back, and leave by the routing table as if it had not been set.
#   udp4: set, read back, source 198.51.100.20 of v2
#   tcp4: set, read back, source 192.0.2.20 of v0
#   udp6: set, read back, source 2001:db8:1::20 of v2
#   tcp6: set, read back, source 2001:db8::20 of v0
# A TCP socket can be placed by SO_BINDTODEVICE or by its source address.
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

func main() {
	v2, err := net.InterfaceByName("v2")
	check(err)
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v2.Index))
	index := int(binary.NativeEndian.Uint32(b[:])) // the option is in network byte order
	for _, s := range []struct {
		name          string
		domain, typ   int
		level, option int
		to            unix.Sockaddr
	}{
		{"udp4", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_IP, unix.IP_UNICAST_IF, &unix.SockaddrInet4{Port: 53, Addr: netip.MustParseAddr("203.0.113.9").As4()}},
		{"tcp4", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_IP, unix.IP_UNICAST_IF, &unix.SockaddrInet4{Port: 53, Addr: netip.MustParseAddr("203.0.113.9").As4()}},
		{"udp6", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_IF, &unix.SockaddrInet6{Port: 53, Addr: netip.MustParseAddr("2001:db8:9::9").As16()}},
		{"tcp6", unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_IF, &unix.SockaddrInet6{Port: 53, Addr: netip.MustParseAddr("2001:db8:9::9").As16()}},
	} {
		fd, err := unix.Socket(s.domain, s.typ|unix.SOCK_NONBLOCK, 0)
		check(err)
		check(unix.SetsockoptInt(fd, s.level, s.option, index))
		said := "set"
		if v, err := unix.GetsockoptInt(fd, s.level, s.option); err == nil && v == index {
			said += ", read back"
		}
		if err := unix.Connect(fd, s.to); err != unix.EINPROGRESS {
			check(err)
		}
		sa, err := unix.Getsockname(fd)
		check(err)
		var own netip.Addr
		switch a := sa.(type) {
		case *unix.SockaddrInet4:
			own = netip.AddrFrom4(a.Addr)
		case *unix.SockaddrInet6:
			own = netip.AddrFrom16(a.Addr)
		}
		dev := ""
		links, err := net.Interfaces()
		check(err)
		for _, l := range links {
			addrs, _ := l.Addrs()
			for _, a := range addrs {
				if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == own {
					dev = l.Name
				}
			}
		}
		fmt.Printf("%s: %s, source %v of %s\n", s.name, said, own, dev)
		unix.Close(fd)
	}
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
ip -6 addr add 2001:db8:1::20/64 dev v2 nodad
ip route add default via 192.0.2.1
ip route add default via 198.51.100.1 metric 100
ip -6 route add default via 2001:db8::1 metric 10
ip -6 route add default via 2001:db8:1::1 metric 100
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = 'udp4: set, read back, source 198.51.100.20 of v2
tcp4: set, read back, source 192.0.2.20 of v0
udp6: set, read back, source 2001:db8:1::20 of v2
tcp6: set, read back, source 2001:db8::20 of v0'
echo "as described"
