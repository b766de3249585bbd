#!/usr/bin/env bash
# Go 1.26 (package net), github.com/vishvananda/netlink v1.3.1,
# github.com/jsimonetti/rtnetlink v1.4.2, iproute2 6.1.0 (Debian 12)
#
# Expected: of an address with a peer, as PPP and tunnels have it (ip address add 10.0.0.1
# peer 192.0.2.0/24), libraries give the own address, and what is on the link can be told:
# 192.0.2.0/24. The same in both families.
#
# Seen: package net joins the own address with the length of the peer's prefix:
# 10.0.0.0/24 passes for on-link, and what is there does not. vishvananda has the own
# address as /32 and the peer beside it. rtnetlink has the peer where all other addresses
# have the own one (Attributes.Address).
#   net: 10.0.0.1/24, 192.0.2.9 within it: false
#   vishvananda: 10.0.0.1/32, peer 192.0.2.0/24
#   rtnetlink: address 192.0.2.0, local 10.0.0.1, length 24
#   net: fd00::1/64, fd00:9::9 within it: false
#   vishvananda: fd00::1/128, peer fd00:9::9/64
#   rtnetlink: address fd00:9::9, local fd00::1, length 64
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 github.com/jsimonetti/rtnetlink@v1.4.2 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"

	"github.com/jsimonetti/rtnetlink"
	"github.com/vishvananda/netlink"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	i := must(net.InterfaceByName("v0"))
	link := must(netlink.LinkByName("v0"))
	c := must(rtnetlink.Dial(nil))
	for _, peer := range []string{"192.0.2.9", "fd00:9::9"} {
		four := net.ParseIP(peer).To4() != nil
		for _, a := range must(i.Addrs()) {
			if n := a.(*net.IPNet); (n.IP.To4() != nil) == four {
				fmt.Printf("net: %v, %s within it: %v\n", n, peer, n.Contains(net.ParseIP(peer)))
			}
		}
		for _, a := range must(netlink.AddrList(link, netlink.FAMILY_ALL)) {
			if (a.IP.To4() != nil) == four {
				fmt.Printf("vishvananda: %v, peer %v\n", a.IPNet, a.Peer)
			}
		}
		for _, m := range must(c.Address.List()) {
			if m.Index == uint32(i.Index) && (m.Attributes.Local.To4() != nil) == four {
				fmt.Printf("rtnetlink: address %v, local %v, length %d\n", m.Attributes.Address, m.Attributes.Local, m.PrefixLength)
			}
		}
	}
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 addrgenmode none
ip link set v0 up
ip addr add 10.0.0.1 peer 192.0.2.0/24 dev v0
ip -6 addr add fd00::1 peer fd00:9::9/64 dev v0 nodad
./try
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'net: 10.0.0.1/24, 192.0.2.9 within it: false
vishvananda: 10.0.0.1/32, peer 192.0.2.0/24
rtnetlink: address 192.0.2.0, local 10.0.0.1, length 24
net: fd00::1/64, fd00:9::9 within it: false
vishvananda: fd00::1/128, peer fd00:9::9/64
rtnetlink: address fd00:9::9, local fd00::1, length 64'
echo "as described"
