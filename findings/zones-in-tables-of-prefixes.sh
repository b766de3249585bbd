#!/usr/bin/env bash
# net/netip of Go 1.26, go4.org/netipx v0.0.0-20260823151212-3075585bcbeb,
# github.com/gaissmai/bart v0.30.0
#
# Expected: three ways to hold a list of prefixes, all keyed by netip.Prefix, give one
# answer to "is fe80::1%eth0, the address of a link-local client, within fe80::/10?"
#
# Seen: netip and netipx say no to any address with a zone, bart says yes. An IPv4-mapped
# address is within the IPv4 prefix for none of them, but IsPrivate and IsLoopback see
# through it, and IsUnspecified does not.
#   fe80::1%eth0: netip false, netipx false, bart true
#   ::ffff:10.1.2.3: netip false, netipx false, bart false; IsPrivate true
#   ::ffff:127.0.0.1: IsLoopback true; ::ffff:0.0.0.0: IsUnspecified false
# So: Unmap().WithZone("") before any of them is asked.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get go4.org/netipx@v0.0.0-20260823151212-3075585bcbeb github.com/gaissmai/bart@v0.30.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
	"go4.org/netipx"
)

func main() {
	var builder netipx.IPSetBuilder
	table := new(bart.Lite)
	prefixes := []netip.Prefix{netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, p := range prefixes {
		builder.AddPrefix(p)
		table.Insert(p)
	}
	set, err := builder.IPSet()
	if err != nil {
		panic(err)
	}
	ask := func(text string) netip.Addr {
		a := netip.MustParseAddr(text)
		any := false
		for _, p := range prefixes {
			any = any || p.Contains(a)
		}
		fmt.Printf("%v: netip %v, netipx %v, bart %v", a, any, set.Contains(a), table.Contains(a))
		return a
	}
	ask("fe80::1%eth0")
	fmt.Println()
	private := ask("::ffff:10.1.2.3").IsPrivate()
	fmt.Printf("; IsPrivate %v\n", private)
	fmt.Printf("::ffff:127.0.0.1: IsLoopback %v; ", netip.MustParseAddr("::ffff:127.0.0.1").IsLoopback())
	fmt.Printf("::ffff:0.0.0.0: IsUnspecified %v\n", netip.MustParseAddr("::ffff:0.0.0.0").IsUnspecified())
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'fe80::1%eth0: netip false, netipx false, bart true
::ffff:10.1.2.3: netip false, netipx false, bart false; IsPrivate true
::ffff:127.0.0.1: IsLoopback true; ::ffff:0.0.0.0: IsUnspecified false'
echo "as described"
