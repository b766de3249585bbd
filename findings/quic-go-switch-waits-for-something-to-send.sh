#!/usr/bin/env bash
# github.com/quic-go/quic-go v0.65.0, Go 1.26, Linux
#
# Expected: Path.Switch "immediately stops sending on the old path, and sends on this
# new path". So the server learns of the new address within a round-trip time, also if
# the client only waits for data.
#
# Seen: Switch only notes the path and wakes nothing. While the client has nothing to
# send, nothing is sent on the new path, and the server goes on sending to the old
# address, until a packet comes or a timer fires. A client that only receives, whose old
# network has gone silent, then waits in vain. Any call that makes the connection
# look for something to send carries the switch out, even the closing of a path that was
# never probed.
#   3 s after Switch the server sends to 127.0.0.2
#   after another path was closed the server sends to 127.0.0.3
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

// connect returns both ends of a connection.
func connect(first *quic.Transport) (client, server *quic.Conn) {
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
	client, err = first.Dial(ctx, ln.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"finding"}}, nil)
	check(err)
	server, err = ln.Accept(ctx)
	check(err)
	return client, server
}

func main() {
	ctx := context.Background()
	first, second := &quic.Transport{Conn: listen("127.0.0.2")}, &quic.Transport{Conn: listen("127.0.0.3")}
	client, server := connect(first)
	to := func() string { return server.RemoteAddr().(*net.UDPAddr).IP.String() }
	p, err := client.AddPath(second)
	check(err)
	check(p.Probe(ctx))
	time.Sleep(2 * time.Second) // everything is acknowledged
	check(p.Switch())
	time.Sleep(3 * time.Second)
	fmt.Println("3 s after Switch the server sends to", to())
	never, err := client.AddPath(second)
	check(err)
	check(never.Close())
	for deadline := time.Now().Add(20 * time.Second); to() != "127.0.0.3" && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("after another path was closed the server sends to", to())
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run . 2>/dev/null)
echo "$got"
test "$got" = '3 s after Switch the server sends to 127.0.0.2
after another path was closed the server sends to 127.0.0.3'
echo "as described"
