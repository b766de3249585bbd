#!/usr/bin/env bash
# Go 1.26, package net, on a host with both families
#
# Expected: net.Listen("tcp", "0.0.0.0:port") listens on all IPv4 addresses, as a bind to
# 0.0.0.0 does in all other languages, and leaves the port of the IPv6 addresses to
# others; "[::]:port" is for both families.
#
# Seen: both are the same listener, for both families. A service that was configured for
# IPv4 answers by IPv6, another program cannot have the port of ::, and Addr() is [::].
# ListenPacket does so too. Only "tcp4" and "udp4" mean IPv4.
#   tcp 0.0.0.0: at [::], by IPv4 reached, by IPv6 reached, [::] of the port: address already in use
#   tcp4 0.0.0.0: at 0.0.0.0, by IPv4 reached, by IPv6 connection refused, [::] of the port: free
#   udp 0.0.0.0: at [::]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

func why(err error, good string) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return good
}

func reach(network, host, port string) string {
	c, err := net.Dial(network, net.JoinHostPort(host, port))
	if err == nil {
		c.Close()
	}
	return why(err, "reached")
}

func main() {
	for _, network := range []string{"tcp", "tcp4"} {
		l, err := net.Listen(network, "0.0.0.0:0")
		if err != nil {
			panic(err)
		}
		host, port, _ := net.SplitHostPort(l.Addr().String())
		if host == "::" {
			host = "[::]"
		}
		// Another program's listener is for IPv6 only.
		only := net.ListenConfig{}
		other, err := only.Listen(context.Background(), "tcp6", "[::]:"+port)
		if err == nil {
			other.Close()
		}
		fmt.Printf("%s 0.0.0.0: at %s, by IPv4 %s, by IPv6 %s, [::] of the port: %s\n",
			network, host, reach("tcp4", "127.0.0.1", port), reach("tcp6", "::1", port), why(err, "free"))
	}
	p, err := net.ListenPacket("udp", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	host, _, _ := net.SplitHostPort(p.LocalAddr().String())
	fmt.Printf("udp 0.0.0.0: at [%s]\n", host)
}
GO
go build -o try .
cat > setup <<'TRY'
set -euo pipefail
ip link set lo up
./try
TRY
if [ "$(id -u)" = 0 ]; then
	got=$(unshare --net bash setup)
else
	got=$(unshare --user --map-root-user --net bash setup)
fi
echo "$got"
test "$got" = 'tcp 0.0.0.0: at [::], by IPv4 reached, by IPv6 reached, [::] of the port: address already in use
tcp4 0.0.0.0: at 0.0.0.0, by IPv4 reached, by IPv6 connection refused, [::] of the port: free
udp 0.0.0.0: at [::]'
echo "as described"
