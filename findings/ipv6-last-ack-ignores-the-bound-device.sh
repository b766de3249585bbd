#!/usr/bin/env bash
# Linux (seen with 6.18), golang.org/x/sys v0.49.0, iproute2 6.1.0 (Debian 12)
#
# Expected: all packets of a TCP connection whose socket is bound to a network device
# (SO_BINDTODEVICE) leave by that device, the acknowledgement of the peer's FIN included
# when that comes after the program has closed its end. So it is over IPv4.
#
# Seen: over IPv6 that acknowledgement leaves by whatever device the routes prefer, with
# the source address of the other one. A network that drops foreign sources, as it should
# (BCP 38), drops it: the peer sends its FIN again and again, and stays in LAST-ACK.
# Whoever captures on one network to show that nothing leaves by it sees these packets.
#   IPv4: bound to cb; the peer's FIN came by cb, its acknowledgement left by cb
#   IPv6: bound to cb; the peer's FIN came by cb, its acknowledgement left by ca
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// serve closes each connection when the next one comes.
func serve() {
	l, err := net.Listen("tcp", ":7000")
	check(err)
	fmt.Println("ready")
	var last net.Conn
	for {
		c, err := l.Accept()
		check(err)
		if last != nil {
			_ = last.Close()
		}
		last = c
	}
}

func main() {
	if len(os.Args) > 1 {
		serve()
	}
	const all = 0x0300 // ETH_P_ALL in network byte order
	wire, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	check(err)
	check(unix.Bind(wire, &unix.SockaddrLinklayer{Protocol: all}))
	for _, ip := range []struct {
		name, from, to string
		header         int // its length; the TCP header is behind it
		next           int // where the protocol is
	}{{"IPv4", "10.0.2.2", "10.9.9.1", 20, 9}, {"IPv6", "2001:db8:2::2", "2001:db8:ffff::1", 40, 6}} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip.from)}, Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			_ = c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "cb") })
			return err
		}}
		dial := func() net.Conn {
			c, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort(ip.to, "7000"))
			check(err)
			return c
		}
		c := dial()
		port := uint16(c.LocalAddr().(*net.TCPAddr).Port)
		check(c.Close())
		for came, closed := "", false; came != "shown"; {
			b := make([]byte, 2000)
			n, from, err := unix.Recvfrom(wire, b, 0)
			check(err)
			at := from.(*unix.SockaddrLinklayer)
			if n < ip.header+20 || b[0]>>4 != ip.name[3]-'0' || b[ip.next] != unix.IPPROTO_TCP {
				continue
			}
			i, err := net.InterfaceByIndex(at.Ifindex)
			check(err)
			tcp, out := b[ip.header:], at.Pkttype == unix.PACKET_OUTGOING
			side := 2 // this end's port is the destination's
			if out {
				side = 0
			}
			if binary.BigEndian.Uint16(tcp[side:]) != port {
				continue
			}
			fin := tcp[13]&1 != 0
			switch {
			case out && fin:
				closed = true
			case !out && fin:
				came = i.Name
			case !out && closed: // our FIN is acknowledged, and the socket is gone
				defer dial().Close()
				closed = false
			case out && came != "":
				fmt.Printf("%s: bound to cb; the peer's FIN came by %s, its acknowledgement left by %s\n", ip.name, came, i.Name)
				came = "shown"
			}
		}
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
cat > host <<'HOST'
set -euo pipefail
mkfifo go said
unshare --net bash -c 'read -r < go; ip link set lo up
for i in a b; do ip link set s$i up; done
ip addr add 10.0.1.1/24 dev sa; ip addr add 10.0.2.1/24 dev sb; ip addr add 10.9.9.1/32 dev lo
ip addr add 2001:db8:1::1/64 dev sa nodad; ip addr add 2001:db8:2::1/64 dev sb nodad; ip addr add 2001:db8:ffff::1/128 dev lo nodad
exec ./try serve > said' &
peer=$!
trap 'kill $peer; wait $peer || true' EXIT
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link set lo up
for i in a b; do
	ip link add c$i type veth peer name s$i netns $peer
	ip link set c$i up
done
ip addr add 10.0.1.2/24 dev ca; ip addr add 10.0.2.2/24 dev cb
ip addr add 2001:db8:1::2/64 dev ca nodad; ip addr add 2001:db8:2::2/64 dev cb nodad
echo > go
for i in a b; do
	until ip link show c$i 2>/dev/null | grep -q 'state UP'; do sleep 0.1; done
done
ip route add default via 10.0.1.1 dev ca metric 10; ip route add default via 10.0.2.1 dev cb metric 20
ip -6 route add default via 2001:db8:1::1 dev ca metric 10; ip -6 route add default via 2001:db8:2::1 dev cb metric 20
read -r < said
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = "IPv4: bound to cb; the peer's FIN came by cb, its acknowledgement left by cb
IPv6: bound to cb; the peer's FIN came by cb, its acknowledgement left by ca"
echo "as described"
