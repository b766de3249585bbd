#!/usr/bin/env bash
# github.com/quic-go/quic-go v0.65.0, Go 1.26, Linux
#
# Expected: ConnectionStats has "the estimate of the minimum RTT observed on the active
# network path" and "the last RTT sample observed" there. Where nothing has been observed
# they are zero, or what was observed last.
#
# Seen: after a switch to another path the least, the latest and the smoothed round-trip
# time are 100 ms each, although not one packet has come since. They are the library's
# assumption, and nothing in ConnectionStats tells it from a measurement, but that the
# mean deviation is zero. Before the switch is carried out, the figures are those of the
# path before. Who takes them for measurements finds each network to be 100 ms away, and
# one that is farther away to be silent.
#   0 packets since the switch, least 100ms, latest 100ms, smoothed 100ms, deviation 0s
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
	"sync/atomic"
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

// deafening is a socket that receives nothing once it is deaf.
type deafening struct {
	net.PacketConn
	deaf atomic.Bool
}

func (d *deafening) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := d.PacketConn.ReadFrom(b)
		if err != nil || !d.deaf.Load() {
			return n, from, err
		}
	}
}

func main() {
	ctx := context.Background()
	one, two := &deafening{PacketConn: listen("127.0.0.2")}, &deafening{PacketConn: listen("127.0.0.3")}
	client, server := connect(&quic.Transport{Conn: one})
	p, err := client.AddPath(&quic.Transport{Conn: two})
	check(err)
	check(p.Probe(ctx))
	time.Sleep(2 * time.Second) // everything is acknowledged
	one.deaf.Store(true)
	two.deaf.Store(true)
	before := client.ConnectionStats()
	check(p.Switch())
	s, err := client.OpenUniStream()
	check(err)
	_, err = s.Write([]byte("x"))
	check(err)
	_, err = server.AcceptUniStream(ctx) // the packet has come over the new path
	check(err)
	now := client.ConnectionStats()
	fmt.Printf("%d packets since the switch, least %v, latest %v, smoothed %v, deviation %v\n",
		now.PacketsReceived-before.PacketsReceived, now.MinRTT, now.LatestRTT, now.SmoothedRTT, now.MeanDeviation)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run . 2>/dev/null)
echo "$got"
test "$got" = '0 packets since the switch, least 100ms, latest 100ms, smoothed 100ms, deviation 0s'
echo "as described"
