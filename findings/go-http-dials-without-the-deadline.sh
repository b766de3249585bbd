#!/usr/bin/env bash
# Go 1.26, package net/http
#
# Expected: Transport.DialContext is called with the request's context: its values and its
# deadline, so that a dialer can divide the time that is left among addresses or networks,
# as net.Dialer does.
#
# Seen: the dialer gets the values, and no deadline and no time-out of Client. net.Dialer,
# below an http.Client with five seconds, gives the first of two silent addresses not half
# of that but all, and the second one is never tried.
#   the context itself, with 5 s: deadline true, value net1
#   http, context with 5 s: deadline false, value net1
#   http, Client.Timeout 5 s: deadline false, value net1
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
	"net/http"
	"time"
)

type network struct{}

var name string

func dial(ctx context.Context, kind, address string) (net.Conn, error) {
	_, bound := ctx.Deadline()
	fmt.Printf("%s: deadline %v, value %v\n", name, bound, ctx.Value(network{}))
	return nil, net.ErrClosed
}

func main() {
	chosen := context.WithValue(context.Background(), network{}, "net1")
	ctx, stop := context.WithTimeout(chosen, 5*time.Second)
	defer stop()
	name = "the context itself, with 5 s"
	dial(ctx, "tcp", "192.0.2.1:80")
	for _, try := range []struct {
		name    string
		ctx     context.Context
		timeout time.Duration
	}{{"http, context with 5 s", ctx, 0}, {"http, Client.Timeout 5 s", chosen, 5 * time.Second}} {
		name = try.name
		client := http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: try.timeout}
		ask, err := http.NewRequestWithContext(try.ctx, http.MethodGet, "http://192.0.2.1/", nil)
		if err != nil {
			panic(err)
		}
		if _, err := client.Do(ask); err == nil {
			panic("an answer")
		}
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'the context itself, with 5 s: deadline true, value net1
http, context with 5 s: deadline false, value net1
http, Client.Timeout 5 s: deadline false, value net1'
echo "as described"
