#!/usr/bin/env bash
# github.com/google/gopacket v1.1.19 and github.com/gopacket/gopacket v1.7.7, Go 1.26
#
# Expected: a capture of "tcpdump -i any" (libpcap 1.10: link type 276, LINUX_SLL2) is
# decoded, or refused as of an unknown link type; the reader tells the number of the file.
#
# Seen: google/gopacket keeps link types in eight bits. Its reader takes the file without
# an error and says 20; what is written with that number again is another type. The fork
# gopacket/gopacket says 276.
#   google/gopacket: link type 20 <nil>
#   gopacket/gopacket: link type 276 <nil>
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/google/gopacket@v1.1.19 github.com/gopacket/gopacket@v1.7.7 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"

	google "github.com/google/gopacket/pcapgo"
	"github.com/gopacket/gopacket/pcapgo"
)

func main() {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2) // version 2.4
	b = binary.LittleEndian.AppendUint16(b, 4)
	for _, v := range []uint32{0, 0, 262144, 276} { // zone, accuracy, length of packets, link type
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	old, err := google.NewReader(bytes.NewReader(b))
	fmt.Printf("google/gopacket: link type %d %v\n", int(old.LinkType()), err)
	fork, err := pcapgo.NewReader(bytes.NewReader(b))
	fmt.Printf("gopacket/gopacket: link type %d %v\n", int(fork.LinkType()), err)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'google/gopacket: link type 20 <nil>
gopacket/gopacket: link type 276 <nil>'
echo "as described"
