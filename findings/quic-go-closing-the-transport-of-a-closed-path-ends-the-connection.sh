#!/usr/bin/env bash
# github.com/quic-go/quic-go v0.65.0, Go 1.26, Linux
#
# Expected: a Transport that was only used to probe another path can be closed once that
# path is closed. Path.Close "abandons a path", and the connection goes on over its first
# transport.
#
# Seen: the connection ends. It has registered its connection IDs with the Transport of
# each path that was ever probed. Path.Close does not take them back, and Transport.Close
# ends every connection that is registered. So a program whose probe of another network
# has failed, and that tidies up, ends the connection that it wanted to save. The
# transports of all paths have to stay open as long as the connection.
#   the path is closed: <nil>
#   its transport is closed: quic: transport closed
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/quic-go/quic-go@v0.65.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func listen(ip string) *net.UDPConn {
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	check(err)
	return u
}

// connect returns the client of a connection.
func connect(first *quic.Transport) *quic.Conn {
	ctx := context.Background()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	ln, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"finding"},
	}, nil)
	check(err)
	client, err := first.Dial(ctx, ln.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"finding"}}, nil)
	check(err)
	return client
}

func main() {
	first, second := &quic.Transport{Conn: listen("127.0.0.2")}, &quic.Transport{Conn: listen("127.0.0.3")}
	client := connect(first)
	p, err := client.AddPath(second)
	check(err)
	check(p.Probe(context.Background()))
	check(p.Close())
	time.Sleep(time.Second)
	fmt.Println("the path is closed:", context.Cause(client.Context()))
	check(second.Close())
	select {
	case <-client.Context().Done():
	case <-time.After(5 * time.Second):
	}
	fmt.Println("its transport is closed:", context.Cause(client.Context()))
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run . 2>/dev/null)
echo "$got"
test "$got" = 'the path is closed: <nil>
its transport is closed: quic: transport closed'
echo "as described"
