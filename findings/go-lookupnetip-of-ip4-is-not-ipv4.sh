#!/usr/bin/env bash
# Go 1.26, packages net and net/netip
#
# Expected: LookupNetIP(ctx, "ip4", host) gives IPv4 addresses, for which Is4 holds, that
# are equal to those of netip.ParseAddr and lie in IPv4 prefixes.
#
# Seen: they are IPv4-mapped IPv6 addresses (::ffff:192.0.2.1), also for a literal. A map
# by address, ==, and Prefix.Contains find nothing. TCPAddr.AddrPort() of an IPv4 client
# at a listener for both families is the same, although TCPAddr.String() hides it.
#   looked up: ::ffff:192.0.2.1 Is4=false equal=false within 192.0.2.0/24=false
#   accepted: [::ffff:127.0.0.1], as text 127.0.0.1
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	found, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip4", "192.0.2.1")
	check(err)
	a := found[0]
	equal := a == netip.MustParseAddr("192.0.2.1")
	fmt.Printf("looked up: %v Is4=%v equal=%v within 192.0.2.0/24=%v\n", a, a.Is4(), equal, netip.MustParsePrefix("192.0.2.0/24").Contains(a))
	ln, err := net.Listen("tcp", ":0")
	check(err)
	_, err = net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", ln.Addr().(*net.TCPAddr).Port))
	check(err)
	c, err := ln.Accept()
	check(err)
	peer := c.RemoteAddr().(*net.TCPAddr)
	text, _, err := net.SplitHostPort(peer.String())
	check(err)
	fmt.Printf("accepted: [%v], as text %s\n", peer.AddrPort().Addr(), text)
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'looked up: ::ffff:192.0.2.1 Is4=false equal=false within 192.0.2.0/24=false
accepted: [::ffff:127.0.0.1], as text 127.0.0.1'
echo "as described"
