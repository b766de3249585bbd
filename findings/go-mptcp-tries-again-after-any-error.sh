#!/usr/bin/env bash
# Go 1.26, package net, on a kernel with MPTCP (seen with Linux 6.18)
#
# Expected: Dialer.SetMultipathTCP falls back to TCP where the host has no MPTCP
# ("if MPTCP is not available on the host ..."); a destination that refuses is an
# error at once, as with TCP. An error of ListenConfig.Control makes Listen fail.
#
# Seen: net falls back after every error. A refused destination is dialled twice, first
# with MPTCP, then with TCP, and only the second error is told (a silent one would take
# two time-outs). As listeners use MPTCP by default, Control runs twice there too: its
# error on the MPTCP socket is lost, and the listener is plain TCP without a word. So it
# goes with each option that MPTCP sockets do not have, such as TCP_USER_TIMEOUT.
#   dial tcp: sockets [6], refused
#   dial mptcp: sockets [262 6], refused
#   listen: sockets [262] protocol 262 <nil>
#   listen with TCP_USER_TIMEOUT: sockets [262 6] protocol 6 <nil>
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if [ "$(cat /proc/sys/net/mptcp/enabled 2>/dev/null)" != 1 ]; then
	echo "needs a kernel with MPTCP (net.mptcp.enabled = 1)" >&2
	exit 1
fi
cd "$dir"
go mod init finding >/dev/null 2>&1
go get golang.org/x/sys@v0.49.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// noting makes a Control function that notes each socket's protocol and calls set.
func noting(protocols *[]int, set func(fd int) error) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		raw.Control(func(fd uintptr) {
			p, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
			*protocols = append(*protocols, p)
			err = set(int(fd))
		})
		return err
	}
}

func nothing(int) error { return nil }

func timeout(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 5000)
}

func main() {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	address := closed.Addr().String()
	closed.Close()
	for _, mptcp := range []bool{false, true} {
		var protocols []int
		d := net.Dialer{Control: noting(&protocols, nothing)}
		d.SetMultipathTCP(mptcp)
		_, err := d.Dial("tcp", address)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			panic(err)
		}
		fmt.Printf("dial %s: sockets %v, refused\n", map[bool]string{false: "tcp", true: "mptcp"}[mptcp], protocols)
	}
	for _, l := range []struct {
		name string
		set  func(int) error
	}{{"listen", nothing}, {"listen with TCP_USER_TIMEOUT", timeout}} {
		var protocols []int
		lc := net.ListenConfig{Control: noting(&protocols, l.set)}
		ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		raw, _ := ln.(*net.TCPListener).SyscallConn()
		raw.Control(func(fd uintptr) {
			p, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL)
			fmt.Printf("%s: sockets %v protocol %d %v\n", l.name, protocols, p, err)
		})
		ln.Close()
	}
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'dial tcp: sockets [6], refused
dial mptcp: sockets [262 6], refused
listen: sockets [262] protocol 262 <nil>
listen with TCP_USER_TIMEOUT: sockets [262 6] protocol 6 <nil>'
echo "as described"
