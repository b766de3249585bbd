#!/usr/bin/env bash
# github.com/vishvananda/netlink v1.3.1, Go 1.26, iproute2 6.1.0 (Debian 12)
#
# Expected: what RouteList gives can be given to RouteReplace, with one field changed: the
# route is the same otherwise.
#
# Seen: Route has no field for what an IPv6 route has in addition, its lifetime and its
# preference (RFC 4191), and nothing says that they were there. The route that a router's
# advertisement made for half an hour stays for ever, at medium preference, with the
# protocol that says it is from an advertisement.
#   before: default via 2001:db8::1 dev v0 proto ra metric 1024 expires 1800sec pref low
#   after: default via 2001:db8::1 dev v0 proto ra metric 1024 mtu 1400 pref medium
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

import "github.com/vishvananda/netlink"

func main() {
	list, err := netlink.RouteList(nil, netlink.FAMILY_V6)
	if err != nil {
		panic(err)
	}
	for _, r := range list {
		if r.Gw == nil {
			continue
		}
		r.MTU = 1400
		if err := netlink.RouteReplace(&r); err != nil {
			panic(err)
		}
	}
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip -6 addr add 2001:db8::20/64 dev v0 nodad
ip -6 route add default via 2001:db8::1 proto ra metric 1024 expires 1800 pref low
shown() { ip -6 route show default | sed -E 's/expires 1[0-9]+sec/expires 1800sec/'; }
echo "before: $(shown)"
./try
echo "after: $(shown)"
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'before: default via 2001:db8::1 dev v0 proto ra metric 1024 expires 1800sec pref low
after: default via 2001:db8::1 dev v0 proto ra metric 1024 mtu 1400 pref medium'
echo "as described"
