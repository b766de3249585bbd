#!/usr/bin/env bash
# Go's net (seen with 1.26), Linux
#
# Expected: the counts that a read of package net returns are never negative, with an error
# neither: the contract of io.Reader says 0 <= n. So n may be added to an offset before
# the error is looked at, as io.Reader's documentation asks for.
#
# Seen: ReadMsgUDP and ReadMsgUnix hand through what recvmsg(2) gave. When a deadline passes
# while they wait, n is -1; it is 0 if the deadline was over before. A Read method around
# them that returns (n, err) makes bufio.Reader panic ("reader returned negative count
# from Read"), and only where the other end is slow.
#   Read          n  0  i/o timeout
#   ReadFromUnix  n  0  i/o timeout
#   ReadMsgUDP    n -1  i/o timeout
#   ReadMsgUnix   n -1  i/o timeout
#   ReadMsgUnix   n  0  i/o timeout    (the deadline was over before)
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	address := &net.UnixAddr{Name: "s", Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	check(err)
	stream, err := net.DialUnix("unix", nil, address)
	check(err)
	_, err = l.Accept()
	check(err)
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "d", Net: "unixgram"})
	check(err)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(err)

	b, oob := make([]byte, 100), make([]byte, 100)
	wait := func(c net.Conn) { check(c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))) }
	show := func(name string, n int, err error) {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			panic(err)
		}
		fmt.Printf("%-13s n %2d  i/o timeout\n", name, n)
	}
	wait(stream)
	n, err := stream.Read(b)
	show("Read", n, err)
	wait(datagrams)
	n, _, err = datagrams.ReadFromUnix(b)
	show("ReadFromUnix", n, err)
	wait(udp)
	n, _, _, _, err = udp.ReadMsgUDP(b, oob)
	show("ReadMsgUDP", n, err)
	wait(stream)
	n, _, _, _, err = stream.ReadMsgUnix(b, oob)
	show("ReadMsgUnix", n, err)
	n, _, _, _, err = stream.ReadMsgUnix(b, oob)
	show("ReadMsgUnix", n, err)
}
GO
got=$(go run . 2>&1)
echo "$got"
[ "$got" = "Read          n  0  i/o timeout
ReadFromUnix  n  0  i/o timeout
ReadMsgUDP    n -1  i/o timeout
ReadMsgUnix   n -1  i/o timeout
ReadMsgUnix   n  0  i/o timeout" ] || { echo "otherwise than described" >&2; exit 1; }
