#!/usr/bin/env bash
# github.com/miekg/dns v1.1.73, Go 1.26
#
# Expected: SetEdns0 sets what a message says of EDNS: called for a message that says
# something already, as a forwarder does that lowers the size its client offers, it
# replaces it.
#
# Seen: it appends. The message has two OPT records, which servers must answer with
# FORMERR (RFC 6891 section 6.1.1), and packs without an error. IsEdns0, by which one
# would look at what was set, gives the last one only. SetReply, for which one might set
# it again, copies none.
#   set once: 1 OPT, IsEdns0 size 4096
#   set again: 2 OPT, IsEdns0 size 1232, pack <nil>, unpacked 2 OPT
#   IsEdns0().SetUDPSize: 1 OPT, size 1232
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

	"github.com/miekg/dns"
)

func count(m *dns.Msg) (n int) {
	for _, r := range m.Extra {
		if r.Header().Rrtype == dns.TypeOPT {
			n++
		}
	}
	return n
}

func main() {
	ask := new(dns.Msg)
	ask.SetQuestion("host.test.", dns.TypeA)
	ask.SetEdns0(4096, false)
	fmt.Printf("set once: %d OPT, IsEdns0 size %d\n", count(ask), ask.IsEdns0().UDPSize())
	ask.SetEdns0(1232, false)
	packed, err := ask.Pack()
	again := new(dns.Msg)
	if err := again.Unpack(packed); err != nil {
		panic(err)
	}
	fmt.Printf("set again: %d OPT, IsEdns0 size %d, pack %v, unpacked %d OPT\n", count(ask), ask.IsEdns0().UDPSize(), err, count(again))
	ask = new(dns.Msg)
	ask.SetQuestion("host.test.", dns.TypeA)
	ask.SetEdns0(4096, false)
	ask.IsEdns0().SetUDPSize(1232)
	fmt.Printf("IsEdns0().SetUDPSize: %d OPT, size %d\n", count(ask), ask.IsEdns0().UDPSize())
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'set once: 1 OPT, IsEdns0 size 4096
set again: 2 OPT, IsEdns0 size 1232, pack <nil>, unpacked 2 OPT
IsEdns0().SetUDPSize: 1 OPT, size 1232'
echo "as described"
