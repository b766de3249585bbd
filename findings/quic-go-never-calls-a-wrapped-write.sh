#!/usr/bin/env bash
# github.com/quic-go/quic-go v0.65.0, Go 1.26, Linux
#
# Expected: who hands quic.Transport a net.PacketConn of his own, which embeds
# *net.UDPConn and overrides WriteTo and ReadFrom (to count, to choose a network, to
# turn send errors into loss), sees every packet in these two methods; they are the
# interface that the field asks for.
#
# Seen: neither is called even once, and nothing says so. The embedded methods make the
# wrapper an OOBCapablePacketConn, so the library reads from the descriptor itself and
# writes by WriteMsgUDP. Embedded as net.PacketConn, the same wrapper sees all packets,
# and loses GSO, ECN and path MTU discovery instead.
#   embeds *net.UDPConn: transferred, WriteTo called false, ReadFrom called false
#   embeds net.PacketConn: transferred, WriteTo called true, ReadFrom called true
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
	"io"
	"math/big"
	"net"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

type counts struct{ written, read atomic.Int64 }

type overUDP struct {
	*net.UDPConn
	counts
}

func (c *overUDP) WriteTo(b []byte, to net.Addr) (int, error) {
	c.written.Add(1)
	return c.UDPConn.WriteTo(b, to)
}

func (c *overUDP) ReadFrom(b []byte) (int, net.Addr, error) {
	c.read.Add(1)
	return c.UDPConn.ReadFrom(b)
}

type overPacket struct {
	net.PacketConn
	counts
}

func (c *overPacket) WriteTo(b []byte, to net.Addr) (int, error) {
	c.written.Add(1)
	return c.PacketConn.WriteTo(b, to)
}

func (c *overPacket) ReadFrom(b []byte) (int, net.Addr, error) {
	c.read.Add(1)
	return c.PacketConn.ReadFrom(b)
}

func transfer(pc net.PacketConn, server net.Addr) {
	tr := &quic.Transport{Conn: pc}
	defer tr.Close()
	c, err := tr.Dial(context.Background(), server, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"finding"}}, nil)
	check(err)
	s, err := c.OpenStreamSync(context.Background())
	check(err)
	_, err = s.Write(make([]byte, 100_000))
	check(err)
	check(s.Close())
	b, err := io.ReadAll(s)
	check(err)
	if string(b) != "100000" {
		panic(string(b))
	}
	c.CloseWithError(0, "")
}

func main() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	ln, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"finding"},
	}, nil)
	check(err)
	go func() {
		for {
			c, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			s, err := c.AcceptStream(context.Background())
			check(err)
			n, err := io.Copy(io.Discard, s)
			check(err)
			fmt.Fprint(s, n)
			s.Close()
		}
	}()
	open := func() *net.UDPConn {
		u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		check(err)
		return u
	}
	a := &overUDP{UDPConn: open()}
	transfer(a, ln.Addr())
	fmt.Printf("embeds *net.UDPConn: transferred, WriteTo called %v, ReadFrom called %v\n", a.written.Load() > 0, a.read.Load() > 0)
	b := &overPacket{PacketConn: open()}
	transfer(b, ln.Addr())
	fmt.Printf("embeds net.PacketConn: transferred, WriteTo called %v, ReadFrom called %v\n", b.written.Load() > 0, b.read.Load() > 0)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run . 2>/dev/null)
echo "$got"
test "$got" = 'embeds *net.UDPConn: transferred, WriteTo called false, ReadFrom called false
embeds net.PacketConn: transferred, WriteTo called true, ReadFrom called true'
echo "as described"
