#!/usr/bin/env bash
# Linux 6.18 with CONFIG_IP_MROUTE_MULTIPLE_TABLES, github.com/vishvananda/netlink v1.3.1, Go 1.26
#
# Expected: the policy rules of all families, asked for with AF_UNSPEC (RuleList of
# FAMILY_ALL), are those of "ip rule" and "ip -6 rule".
#
# Seen: the rules of the two multicast routers come as well, as families 128
# (RTNL_FAMILY_IPMR) and 129 (RTNL_FAMILY_IP6MR). They say "from all" and a table number
# that means something else than in "ip route": the library prints table 253 and 254,
# which are "default" and "main" elsewhere, and drops the family from its text. Who takes
# every family but AF_INET for IPv6 sees a second rule with preference 32767 for table
# "main", which is not there.
#   ip rule:    0 local, 32766 main, 32767 default
#   ip -6 rule: 0 local, 32766 main
#   all families: 2: 0 255, 2: 32766 254, 2: 32767 253, 128: 32767 253, 129: 32767 254, 10: 0 255, 10: 32766 254
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/vishvananda/netlink@v1.3.1 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
)

func main() {
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		panic(err)
	}
	var text []string
	for _, r := range rules {
		text = append(text, fmt.Sprintf("%d: %d %d", r.Family, max(r.Priority, 0), r.Table))
	}
	fmt.Println("all families:", strings.Join(text, ", "))
}
GO
go build -o rules .
got=$(unshare --user --map-root-user --net sh -c '
echo "ip rule: $(ip rule | wc -l), ip -6 rule: $(ip -6 rule | wc -l)"
./rules')
echo "$got"
test "$got" = "ip rule: 3, ip -6 rule: 2
all families: 2: 0 255, 2: 32766 254, 2: 32767 253, 128: 32767 253, 129: 32767 254, 10: 0 255, 10: 32766 254"
echo "as described"
