#!/usr/bin/env bash
# golang.org/x/net v0.62.0 (proxy), github.com/armon/go-socks5
# v0.0.0-20160902184237-e75332964ef5, Go 1.26
#
# Expected: proxy.SOCKS5 gives a dialer whose Dial and DialContext differ in the
# context only. Neither kind of connection loses what TCP can do, or both do.
#
# Seen: Dial gives the *net.TCPConn to the proxy, DialContext a *socks.Conn around it,
# which has no CloseWrite (nor ReadFrom, SyscallConn ...). A protocol that ends its
# question by half-close works through Dial and cannot be spoken through DialContext,
# which proxy.Dial and everybody with a deadline uses.
#   Dial: *net.TCPConn, CloseWrite true, answer "got 10"
#   DialContext: *socks.Conn, CloseWrite false
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 github.com/armon/go-socks5@v0.0.0-20160902184237-e75332964ef5 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/armon/go-socks5"
	"golang.org/x/net/proxy"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	server, err := socks5.New(&socks5.Config{})
	check(err)
	proxied, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go server.Serve(proxied)
	service, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				fmt.Fprintf(c, "got %d", len(b))
			}()
		}
	}()
	d, err := proxy.SOCKS5("tcp", proxied.Addr().String(), nil, nil)
	check(err)
	try := func(name string, c net.Conn, err error) {
		check(err)
		defer c.Close()
		w, ok := c.(interface{ CloseWrite() error })
		fmt.Printf("%s: %T, CloseWrite %v", name, c, ok)
		if ok {
			_, err := c.Write(make([]byte, 10))
			check(err)
			check(w.CloseWrite())
			b, err := io.ReadAll(c)
			check(err)
			fmt.Printf(", answer %q", b)
		}
		fmt.Println()
	}
	c, err := d.Dial("tcp", service.Addr().String())
	try("Dial", c, err)
	c, err = d.(proxy.ContextDialer).DialContext(context.Background(), "tcp", service.Addr().String())
	try("DialContext", c, err)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'Dial: *net.TCPConn, CloseWrite true, answer "got 10"
DialContext: *socks.Conn, CloseWrite false'
echo "as described"
