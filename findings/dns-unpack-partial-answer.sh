#!/usr/bin/env bash
# github.com/miekg/dns v1.1.73, Go 1.26
#
# Expected: Msg.Unpack of a message that is malformed somewhere gives an
# error, and what was read before the fault is there or is not, in either case the
# same way: two good addresses followed by one record with bad data.
#
# Seen: it depends on where the bad record stands, not on what it is. Behind the
# answer section: error, both answers are there. As the last record of the answer
# section: error, and the two good records in front of it are gone; the message has
# no answer at all. dns.UnpackRR, called for each record, gives the end of the bad
# one beside its error, so a caller can go on behind it.
#
#   additional: err=true answers=2
#   answer: err=true answers=0
#   record by record: 2 good, 1 bad
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/miekg/dns@v1.1.73 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"encoding/binary"
	"fmt"

	"github.com/miekg/dns"
)

// message has two good addresses and one of three octets, which the count at the
// given offset of the header announces.
func message(count int) []byte {
	m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	m.Response = true
	for _, s := range []string{"www.example. 60 IN A 192.0.2.1", "www.example. 60 IN A 192.0.2.2"} {
		rr, err := dns.NewRR(s)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint16(b[count:], binary.BigEndian.Uint16(b[count:])+1)
	return append(b, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 3, 192, 0, 2)
}

func main() {
	for _, at := range []struct {
		name  string
		count int
	}{{"additional", 10}, {"answer", 6}} {
		var m dns.Msg
		err := m.Unpack(message(at.count))
		fmt.Printf("%s: err=%v answers=%d\n", at.name, err != nil, len(m.Answer))
	}
	b := message(6)
	good, bad, off := 0, 0, 12+13+4 // header, name, type and class
	for range 3 {
		_, end, err := dns.UnpackRR(b, off)
		if err != nil {
			bad++
		} else {
			good++
		}
		off = end
	}
	fmt.Printf("record by record: %d good, %d bad\n", good, bad)
}
GO
got=$(go run .)
echo "$got"
want='additional: err=true answers=2
answer: err=true answers=0
record by record: 2 good, 1 bad'
[ "$got" = "$want" ]
