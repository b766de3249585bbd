#!/usr/bin/env bash
# github.com/vishvananda/netlink v1.3.1, Go 1.26, iproute2 6.1.0 (Debian 12)
#
# Expected: Addr.ValidLft of an hour makes an address that goes after an hour.
# PreferedLft, which is not set, is no limit of its own then, as both fields are none for
# an address without either.
#
# Seen: zero is sent as it is (for IPv4 as well), so that the address is deprecated from
# the beginning: sockets take another address, or another network, although this one is
# valid for an hour. There is no error; ip refuses the same request. The kernel gives
# unlimited lives as 4294967295, so an address that was read and is added again is right.
#   netlink, ValidLft 3600: preferred 0, source 2001:db8::21
#   netlink, both 3600: preferred 3600, source 2001:db8::20
#   ip, valid_lft 3600: preferred_lft is greater than valid_lft
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
	"os"

	"github.com/vishvananda/netlink"
)

func main() {
	link, err := netlink.LinkByName("v0")
	if err != nil {
		panic(err)
	}
	a, err := netlink.ParseAddr("2001:db8::20/64")
	if err != nil {
		panic(err)
	}
	a.ValidLft = 3600
	if os.Args[1] == "both" {
		a.PreferedLft = 3600
	}
	a.Flags = 0x02 // IFA_F_NODAD
	if err := netlink.AddrAdd(link, a); err != nil {
		panic(err)
	}
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link add v0 type veth peer name v1
ip link set v0 up
ip link set v1 up
ip -6 addr add 2001:db8::21/64 dev v0 nodad
ip -6 route add default dev v0
show() {
	echo "$1: preferred $(ip -6 addr show dev v0 | grep -A1 2001:db8::20 | grep -oE 'preferred_lft [a-z0-9]+' | sed -E 's/preferred_lft //; s/sec//; s/^35[0-9]+/3600/')," \
		"source $(ip -6 route get 2001:db8:9::1 | grep -oE 'src [^ ]+' | cut -d ' ' -f 2)"
	ip -6 addr del 2001:db8::20/64 dev v0
}
./try valid
show "netlink, ValidLft 3600"
./try both
show "netlink, both 3600"
echo "ip, valid_lft 3600: $(ip -6 addr add 2001:db8::20/64 dev v0 nodad valid_lft 3600 2>&1)"
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'netlink, ValidLft 3600: preferred 0, source 2001:db8::21
netlink, both 3600: preferred 3600, source 2001:db8::20
ip, valid_lft 3600: preferred_lft is greater than valid_lft'
echo "as described"
