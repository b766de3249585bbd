#!/usr/bin/env bash
# github.com/mdlayher/netlink v1.11.2 over sock_diag(7), Linux 5.7 to 6.18.
#
# Expected: a lookup of one socket (SOCK_DIAG_BY_FAMILY without NLM_F_DUMP) wants
# the socket's own address in idiag_src and its peer's in idiag_dst, as the answer has
# them, and as it is for TCP.
# Seen: for UDP the two are swapped in the request, and only there; written as for
# TCP, the lookup finds nothing.
#
#   tcp as in the answer: found
#   udp as in the answer: not found
#   udp swapped: found
set -euo pipefail
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/netlink"
)

func look(protocol byte, src, dst netip.AddrPort) string {
	c, err := netlink.Dial(4, nil) // NETLINK_SOCK_DIAG
	if err != nil {
		panic(err)
	}
	defer c.Close()
	b := make([]byte, 56)
	b[0], b[1] = 2, protocol // AF_INET
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0))
	binary.BigEndian.PutUint16(b[8:], src.Port())
	binary.BigEndian.PutUint16(b[10:], dst.Port())
	copy(b[12:], src.Addr().AsSlice())
	copy(b[28:], dst.Addr().AsSlice())
	for i := 48; i < 56; i++ {
		b[i] = 0xff
	}
	if _, err := c.Execute(netlink.Message{Header: netlink.Header{Type: 20, Flags: netlink.Request}, Data: b}); err != nil {
		return "not found"
	}
	return "found"
}

func main() {
	tcp, _ := net.Listen("tcp4", "127.0.0.1:0")
	t, err := net.Dial("tcp4", tcp.Addr().String())
	if err != nil {
		panic(err)
	}
	udp, _ := net.ListenPacket("udp4", "127.0.0.1:0")
	u, err := net.Dial("udp4", udp.LocalAddr().String())
	if err != nil {
		panic(err)
	}
	ap := netip.MustParseAddrPort
	fmt.Println("tcp as in the answer:", look(6, ap(t.LocalAddr().String()), ap(t.RemoteAddr().String())))
	// From a port that only the connected socket has: no other one may match.
	udp.Close()
	fmt.Println("udp as in the answer:", look(17, ap(u.LocalAddr().String()), ap(u.RemoteAddr().String())))
	fmt.Println("udp swapped:", look(17, ap(u.RemoteAddr().String()), ap(u.LocalAddr().String())))
}
GO
{ go mod init finding && go get github.com/mdlayher/netlink@v1.11.2; } >/dev/null 2>&1
got=$(go run .)
want="tcp as in the answer: found
udp as in the answer: not found
udp swapped: found"
echo "$got"
[ "$got" = "$want" ]
