#!/usr/bin/env bash
# github.com/vishvananda/netlink v1.3.1, Go 1.26, iproute2 6.1.0 (Debian 12), on a kernel
# with net.ipv4.nexthop_compat_mode = 0, as routing daemons set it.
#
# Expected: RouteList gives a route that uses a next-hop object with its interface and
# gateway, or says that it has such an object, or leaves it out.
#
# Seen: the route is there, with type unicast, but with interface 0, no gateway and no
# next hops, and no field says why. RouteList for the interface leaves the route out.
# RouteGet, which asks the kernel, knows interface and gateway.
#   list: 203.0.113.0/24 unicast=true link=0 gateway=<nil> nexthops=0
#   list by interface: absent
#   get: link=v0 gateway=192.0.2.9
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(ip -V) in
*iproute2-6.1.0*) ;;
*) echo "needs iproute2 6.1.0 (Debian 12), this is $(ip -V)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	link, err := netlink.LinkByName("v0")
	check(err)
	all, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	check(err)
	for _, r := range all {
		if r.Dst.String() == "203.0.113.0/24" {
			fmt.Printf("list: %v unicast=%v link=%d gateway=%v nexthops=%d\n", r.Dst, r.Type == unix.RTN_UNICAST, r.LinkIndex, r.Gw, len(r.MultiPath))
		}
	}
	by, err := netlink.RouteList(link, netlink.FAMILY_V4)
	check(err)
	found := "absent"
	for _, r := range by {
		if r.Dst.String() == "203.0.113.0/24" {
			found = "there"
		}
	}
	fmt.Println("list by interface:", found)
	got, err := netlink.RouteGet(net.ParseIP("203.0.113.7"))
	check(err)
	on, err := netlink.LinkByIndex(got[0].LinkIndex)
	check(err)
	fmt.Printf("get: link=%s gateway=%v\n", on.Attrs().Name, got[0].Gw)
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
cat > host <<'EOF'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip addr add 192.0.2.20/24 dev v0
echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode
ip nexthop add id 7 via 192.0.2.9 dev v0
ip route add 203.0.113.0/24 nhid 7
./try
EOF
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = 'list: 203.0.113.0/24 unicast=true link=0 gateway=<nil> nexthops=0
list by interface: absent
get: link=v0 gateway=192.0.2.9'
echo "as described"
