#!/usr/bin/env bash
# github.com/miekg/dns v1.1.73, Go 1.26
#
# Expected: "search ." in resolv.conf, as systemd-resolved and NetworkManager write it
# where there is no domain to search, adds nothing: ClientConfig.NameList("printer")
# is the name itself below the root, as for glibc and Go.
#
# Seen: the first name to ask for is "printer..", with an empty label in the middle.
# It is no name at all; a message with it cannot be packed, so that a program which
# gives up at an error never asks for the name that would have been found.
#   search list [.]: ["printer.." "printer."]
#   pack "printer..": error
#   pack "printer.": <nil>
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/miekg/dns@v1.1.73 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

func main() {
	c, err := dns.ClientConfigFromReader(strings.NewReader("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"))
	if err != nil {
		panic(err)
	}
	names := c.NameList("printer")
	fmt.Printf("search list %v: %q\n", c.Search, names)
	for _, n := range names {
		_, err := new(dns.Msg).SetQuestion(n, dns.TypeA).Pack()
		said := fmt.Sprint(err)
		if err != nil {
			said = "error"
		}
		fmt.Printf("pack %q: %s\n", n, said)
	}
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'search list [.]: ["printer.." "printer."]
pack "printer..": error
pack "printer.": <nil>'
echo "as described"
