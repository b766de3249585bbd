#!/usr/bin/env bash
# github.com/vishvananda/netlink v1.3.1, Go 1.26, iproute2 6.1.0 (Debian 12)
#
# Expected: RouteDel with a destination deletes the route there, as "ip route del DST"
# does, and as RouteDel does for IPv6: what is not given in the request does not count.
#
# Seen: an IPv4 route on the link is not found (ESRCH), though the destination is the only
# one of its kind. Scope is not left open but sent as zero, which is SCOPE_UNIVERSE, and
# the kernel wants the very scope of routes that were added by ip, networkd or the kernel
# for a device without a gateway: link.
#   ipv4 with a gateway: deleted
#   ipv4 on the link: no such process
#   ipv4 on the link, with Scope: deleted
#   ipv6 on the link: deleted
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

	"github.com/vishvananda/netlink"
)

func main() {
	for _, try := range []struct {
		name, dst string
		scope     netlink.Scope
	}{
		{"ipv4 with a gateway", "203.0.113.0/24", 0},
		{"ipv4 on the link", "198.51.100.0/24", 0},
		{"ipv4 on the link, with Scope", "198.51.100.0/24", netlink.SCOPE_LINK},
		{"ipv6 on the link", "2001:db8:9::/48", 0},
	} {
		dst, err := netlink.ParseIPNet(try.dst)
		if err != nil {
			panic(err)
		}
		said := "deleted"
		if err := netlink.RouteDel(&netlink.Route{Dst: dst, Scope: try.scope}); err != nil {
			said = err.Error()
		}
		fmt.Printf("%s: %s\n", try.name, said)
	}
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip addr add 192.0.2.20/24 dev v0
ip route add 203.0.113.0/24 via 192.0.2.1
ip route add 198.51.100.0/24 dev v0
ip -6 route add 2001:db8:9::/48 dev v0
./try
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'ipv4 with a gateway: deleted
ipv4 on the link: no such process
ipv4 on the link, with Scope: deleted
ipv6 on the link: deleted'
echo "as described"
