#!/usr/bin/env bash
# github.com/mdlayher/netlink v1.11.2 over rtnetlink(7), Linux (seen with 6.18)
#
# Expected: a dump request has the same header as what it asks for (struct rtmsg, struct
# ifaddrmsg), so RTM_GETROUTE with rtm_table = 101 gives the routes of table 101, and
# RTM_GETADDR with ifa_index the addresses of that link. A field that is not honoured is
# an error.
#
# Seen: only the family counts; the rest is ignored without an error and everything
# comes. With the socket option NETLINK_GET_STRICT_CHK (Linux 4.20), which no library
# sets by itself, both fields filter.
#   as opened: routes of tables [101 254 255], addresses of 2 links
#   with GetStrictCheck: routes of tables [101], addresses of 1 links
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/mdlayher/netlink@v1.11.2 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/mdlayher/netlink"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	link, err := net.InterfaceByName("v0")
	check(err)
	for _, strict := range []bool{false, true} {
		name := "as opened"
		c, err := netlink.Dial(0, nil) // NETLINK_ROUTE
		check(err)
		if strict {
			name = "with GetStrictCheck"
			check(c.SetOption(netlink.GetStrictCheck, true))
		}
		dump := func(typ netlink.HeaderType, data []byte) []netlink.Message {
			m, err := c.Execute(netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Dump}, Data: data})
			check(err)
			return m
		}
		route := make([]byte, 12) // struct rtmsg
		route[0], route[4] = 2, 101
		tables := map[byte]bool{}
		for _, m := range dump(26, route) { // RTM_GETROUTE
			tables[m.Data[4]] = true
		}
		address := make([]byte, 8) // struct ifaddrmsg
		address[0] = 2
		binary.NativeEndian.PutUint32(address[4:], uint32(link.Index))
		links := map[uint32]bool{}
		for _, m := range dump(22, address) { // RTM_GETADDR
			links[binary.NativeEndian.Uint32(m.Data[4:])] = true
		}
		fmt.Printf("%s: routes of tables %v, addresses of %d links\n", name, slices.Sorted(maps.Keys(tables)), len(links))
		c.Close()
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
	ip addr add "192.0.$((i + 2)).20/24" dev "v$i"
done
ip route add 203.0.113.0/24 via 192.0.2.1 table 101
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = 'as opened: routes of tables [101 254 255], addresses of 2 links
with GetStrictCheck: routes of tables [101], addresses of 1 links'
echo "as described"
