#!/usr/bin/env bash
# github.com/quic-go/quic-go v0.65.0, Go 1.26
#
# Expected: errors.Is(err, net.ErrClosed) means what it means in package net: this program
# has closed it, so that the error is no event. What the peer or the network ended is
# another error.
#
# Seen: each error that ends a connection is net.ErrClosed: the peer's error code, the
# idle time-out, a handshake that failed or was never answered. A write to a stream that
# this program itself has closed is not. The usual "if it is ErrClosed, say nothing" hides
# all failures and tells of the harmless end.
#   the peer closed with code 7: net.ErrClosed true, Timeout() false
#   this side closed: net.ErrClosed true, Timeout() false
#   nothing came for MaxIdleTimeout: net.ErrClosed true, Timeout() true
#   the server has another protocol: net.ErrClosed true, Timeout() false
#   nobody answers the handshake: net.ErrClosed true, Timeout() true
#   write to a stream that this side closed: net.ErrClosed false, Timeout() false
#   the peer reset the stream: net.ErrClosed false, Timeout() false
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
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func tell(name string, err error) {
	var n net.Error
	fmt.Printf("%s: net.ErrClosed %v, Timeout() %v\n", name, errors.Is(err, net.ErrClosed), errors.As(err, &n) && n.Timeout())
}

func main() {
	ctx := context.Background()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	l := must(quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"finding"},
	}, nil))
	trust := func(protocol string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
	}
	dial := func(idle time.Duration) (client, server *quic.Conn) {
		client = must(quic.DialAddr(ctx, l.Addr().String(), trust("finding"), &quic.Config{MaxIdleTimeout: idle}))
		return client, must(l.Accept(ctx))
	}
	end := func(c *quic.Conn) error {
		_, err := c.AcceptStream(ctx)
		return err
	}

	client, server := dial(0)
	server.CloseWithError(7, "")
	tell("the peer closed with code 7", end(client))
	client, _ = dial(0)
	client.CloseWithError(0, "")
	tell("this side closed", end(client))
	client, _ = dial(time.Second)
	tell("nothing came for MaxIdleTimeout", end(client))
	_, err := quic.DialAddr(ctx, l.Addr().String(), trust("another"), nil)
	tell("the server has another protocol", err)
	silent := must(net.ListenPacket("udp4", "127.0.0.1:0"))
	_, err = quic.DialAddr(ctx, silent.LocalAddr().String(), trust("finding"), &quic.Config{HandshakeIdleTimeout: time.Second})
	tell("nobody answers the handshake", err)
	client, server = dial(0)
	stream := must(client.OpenStream())
	must(stream.Write([]byte("hello")))
	far := must(server.AcceptStream(ctx))
	stream.Close()
	_, err = stream.Write([]byte("more"))
	tell("write to a stream that this side closed", err)
	far.CancelWrite(5)
	_, err = stream.Read(make([]byte, 1))
	tell("the peer reset the stream", err)
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'the peer closed with code 7: net.ErrClosed true, Timeout() false
this side closed: net.ErrClosed true, Timeout() false
nothing came for MaxIdleTimeout: net.ErrClosed true, Timeout() true
the server has another protocol: net.ErrClosed true, Timeout() false
nobody answers the handshake: net.ErrClosed true, Timeout() true
write to a stream that this side closed: net.ErrClosed false, Timeout() false
the peer reset the stream: net.ErrClosed false, Timeout() false'
echo "as described"
