#!/usr/bin/env bash
# Linux (seen with 6.18), golang.org/x/sys v0.49.0, iproute2 6.1.0 (Debian 12)
#
# Expected: a socket that is bound to a network device (SO_BINDTODEVICE) either reaches
# 127.0.0.1 and the host's other addresses all the same, as one that is bound to the
# device's address does, or its connect fails at once with ENETUNREACH, as they belong
# to other devices.
#
# Seen: connect succeeds for UDP and waits for TCP: the kernel looks for a route of that
# device, finds the default route, and sends the packet for 127.0.0.1 to the gateway,
# with the device's address as source. The service on this host hears nothing. So a
# program put on a device loses its stub resolver on 127.0.0.53 without any error.
#   to 127.0.0.1, bound to the address: the service got "hello"
#   to 127.0.0.1, bound to the device: connected, sent; on the wire: 192.0.2.20 > 127.0.0.1
#   to 198.51.100.20, bound to the address: the service got "hello"
#   to 198.51.100.20, bound to the device: connected, sent; on the wire: 192.0.2.20 > 198.51.100.20
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
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

func socket() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	check(err)
	return fd
}

func main() {
	gateway, err := net.InterfaceByName("v1")
	check(err)
	const ip = 0x0008 // ETH_P_IP in network byte order
	wire, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	check(err)
	check(unix.Bind(wire, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: gateway.Index}))
	service := socket()
	check(unix.Bind(service, &unix.SockaddrInet4{Port: 53}))
	// heard tells what arrives first, and where.
	heard := func() string {
		fds := []unix.PollFd{{Fd: int32(wire), Events: unix.POLLIN}, {Fd: int32(service), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, 5000)
		check(err)
		b := make([]byte, 100)
		if fds[1].Revents != 0 {
			n, err := unix.Read(service, b)
			check(err)
			return fmt.Sprintf("the service got %q", b[:n])
		}
		_, err = unix.Read(wire, b)
		check(err)
		return fmt.Sprintf("on the wire: %v > %v", netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])))
	}

	for _, to := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("198.51.100.20")} {
		at := &unix.SockaddrInet4{Port: 53, Addr: to.As4()}
		fd := socket()
		check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 20}}))
		check(unix.Connect(fd, at))
		check(unix.Send(fd, []byte("hello"), 0))
		fmt.Printf("to %v, bound to the address: %s\n", to, heard())

		fd = socket()
		check(unix.BindToDevice(fd, "v0"))
		check(unix.Connect(fd, at))
		check(unix.Send(fd, []byte("hello"), 0))
		fmt.Printf("to %v, bound to the device: connected, sent; %s\n", to, heard())
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
cat > host <<'HOST'
set -euo pipefail
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
ip link add v2 type veth peer name v3
ip link set v2 up
ip addr add 198.51.100.20/24 dev v2
ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev v0
ip route add default via 192.0.2.1
until ip link show v0 | grep -q 'state UP'; do sleep 0.1; done # what is sent before is dropped
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = 'to 127.0.0.1, bound to the address: the service got "hello"
to 127.0.0.1, bound to the device: connected, sent; on the wire: 192.0.2.20 > 127.0.0.1
to 198.51.100.20, bound to the address: the service got "hello"
to 198.51.100.20, bound to the device: connected, sent; on the wire: 192.0.2.20 > 198.51.100.20'
echo "as described"
