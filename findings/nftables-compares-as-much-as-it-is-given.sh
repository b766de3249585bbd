#!/usr/bin/env bash
# github.com/google/nftables v0.3.0, Linux with nf_tables (seen with 6.18), iproute2 6.1.0
#
# Expected: expr.Cmp with CmpOpEq is true where the register equals Data. The name of an
# interface loaded with Meta and compared with []byte("v1") is a match for v1.
#
# Seen: as many octets are compared as Data has, so that this is "begins with": the rule
# counts what leaves by v10 as well. With the zero after the name it is equality.
#   "v1": 2 packets
#   "v1\x00": 1 packets
#   sent: one by v1, one by v10
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/google/nftables@v0.3.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	c, err := nftables.New()
	check(err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "finding"})
	chain := c.AddChain(&nftables.Chain{
		Name: "out", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	for _, name := range []string{"v1", "v1\x00"} {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(name)},
			&expr.Counter{},
		}})
	}
	check(c.Flush())
	for _, to := range []string{"192.0.2.9:9", "198.51.100.9:9"} {
		u, err := net.Dial("udp", to)
		check(err)
		_, err = u.Write([]byte("x"))
		check(err)
		u.Close()
	}
	rules, err := c.GetRules(table, chain)
	check(err)
	for _, r := range rules {
		fmt.Printf("%q: %d packets\n", r.Exprs[1].(*expr.Cmp).Data, r.Exprs[2].(*expr.Counter).Packets)
	}
	fmt.Println("sent: one by v1, one by v10")
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
cat > host <<'HOST'
set -euo pipefail
ip link add v1 type veth peer name x1
ip link add v10 type veth peer name x10
for i in v1 x1 v10 x10; do ip link set "$i" up; done
ip addr add 192.0.2.20/24 dev v1
ip addr add 198.51.100.20/24 dev v10
./try
HOST
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash host)
else
	got=$(unshare --user --map-root-user --net bash host)
fi
echo "$got"
test "$got" = '"v1": 2 packets
"v1\x00": 1 packets
sent: one by v1, one by v10'
echo "as described"
