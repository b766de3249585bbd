#!/usr/bin/env bash
# golang.org/x/net v0.62.0 (dns/dnsmessage, which package net has a copy of) and
# github.com/miekg/dns v1.1.73, Go 1.26
#
# Expected: a label may hold any octet (RFC 2181 section 11), and names of services do:
# "Printer v1.2._ipp._tcp.local." (RFC 6763 section 4.3). A parser of messages gives
# such a name with the dot escaped, or at least the records without it.
#
# Seen: dnsmessage refuses the message as a whole: Unpack fails at the name, and so does
# a Parser where it comes to that record; SkipAnswer gets past it. miekg/dns escapes.
#   miekg/dns: answers ["Printer\\ v1\\.2._ipp._tcp.local." "Scanner._ipp._tcp.local."]
#   dnsmessage: Unpack error, Parser error at answer 1, by SkipAnswer 2 answers
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 github.com/miekg/dns@v1.1.73 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	const service = "_ipp._tcp.local."
	m := new(dns.Msg).SetQuestion(service, dns.TypePTR)
	m.Response = true
	for _, name := range []string{`Printer v1\.2.` + service, "Scanner." + service} {
		h := dns.RR_Header{Name: service, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 60}
		m.Answer = append(m.Answer, &dns.PTR{Hdr: h, Ptr: name})
	}
	b, err := m.Pack()
	check(err)

	var again dns.Msg
	check(again.Unpack(b))
	var names []string
	for _, rr := range again.Answer {
		names = append(names, rr.(*dns.PTR).Ptr)
	}
	fmt.Printf("miekg/dns: answers %q\n", names)

	whole := "<nil>"
	if new(dnsmessage.Message).Unpack(b) != nil {
		whole = "error"
	}
	var p dnsmessage.Parser
	_, err = p.Start(b)
	check(err)
	check(p.SkipAllQuestions())
	at := 0
	for {
		at++
		if _, err := p.Answer(); err != nil {
			break
		}
	}
	_, err = p.Start(b)
	check(err)
	check(p.SkipAllQuestions())
	n := 0
	for {
		err := p.SkipAnswer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		check(err)
		n++
	}
	fmt.Printf("dnsmessage: Unpack %s, Parser error at answer %d, by SkipAnswer %d answers\n", whole, at, n)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'miekg/dns: answers ["Printer\\ v1\\.2._ipp._tcp.local." "Scanner._ipp._tcp.local."]
dnsmessage: Unpack error, Parser error at answer 1, by SkipAnswer 2 answers'
echo "as described"
