#!/usr/bin/env bash
# Go 1.26, package net
#
# Expected: a net.Resolver whose Dial reads from its context over which network to ask
# (a context value, as multi-homed programs set) can be shared: each lookup is made
# with the context that it was called with.
#
# Seen: LookupIPAddr, LookupNetIP and with them every Dialer join a lookup that runs
# already for the same name, whatever its context holds. The second caller's Dial is
# never called; it gets the answer of the first one's network, without an error. Only
# LookupHost asks for each caller.
#   LookupNetIP: net1 [192.0.2.1], net2 [192.0.2.1]
#   LookupHost: net1 [192.0.2.1], net2 [192.0.2.2]
# So: a Resolver of its own for each network.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

type key struct{}

// server answers every question for an IPv4 address with its own one, once it may.
type server struct {
	addr    string
	asked   chan bool
	proceed chan bool
}

func serve(answer [4]byte) *server {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := &server{addr: pc.LocalAddr().String(), asked: make(chan bool, 9), proceed: make(chan bool)}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil {
				continue
			}
			s.asked <- true
			go func() {
				<-s.proceed
				m.Response, m.Additionals = true, nil
				q := m.Questions[0]
				if q.Type == dnsmessage.TypeA {
					h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
					m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: answer}}}
				}
				out, _ := m.Pack()
				pc.WriteTo(out, from)
			}()
		}
	}()
	return s
}

func main() {
	for _, f := range []struct {
		name string
		look func(*net.Resolver, context.Context) (string, error)
	}{
		{"LookupNetIP", func(r *net.Resolver, ctx context.Context) (string, error) {
			a, err := r.LookupNetIP(ctx, "ip4", "www.example.")
			if err == nil {
				a = []netip.Addr{a[0].Unmap()}
			}
			return fmt.Sprint(a), err
		}},
		{"LookupHost", func(r *net.Resolver, ctx context.Context) (string, error) {
			a, err := r.LookupHost(ctx, "www.example.")
			return fmt.Sprint(a), err
		}},
	} {
		one, two := serve([4]byte{192, 0, 2, 1}), serve([4]byte{192, 0, 2, 2})
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", ctx.Value(key{}).(*server).addr)
		}}
		ask := func(s *server) chan string {
			done := make(chan string, 1)
			go func() {
				a, err := f.look(r, context.WithValue(context.Background(), key{}, s))
				if err != nil {
					a = err.Error()
				}
				done <- a
			}()
			return done
		}
		first := ask(one)
		<-one.asked
		second := ask(two)
		select { // a question that never comes can only be waited for
		case <-two.asked:
		case <-time.After(2 * time.Second):
		}
		close(one.proceed)
		close(two.proceed)
		fmt.Printf("%s: net1 %s, net2 %s\n", f.name, <-first, <-second)
	}
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'LookupNetIP: net1 [192.0.2.1], net2 [192.0.2.1]
LookupHost: net1 [192.0.2.1], net2 [192.0.2.2]'
echo "as described"
