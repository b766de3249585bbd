#!/usr/bin/env bash
# tcpdump 4.99.3 with libpcap 1.10.3 (Debian 12), github.com/gopacket/gopacket v1.7.7
#
# Expected: pcapng was made for captures of several interfaces, each with a link type of
# its own: an Ethernet card and a tunnel (raw IP) in one file are read whole, packet by
# packet, by every reader of the format.
#
# Seen: libpcap reads up to the second interface and then refuses the file. gopacket's
# reader leaves the other interface's packets out without a word unless it is told
# WantMixedLinkType: half of a multi-homed host's capture is not there.
#   written: 4 packets of 2 interfaces
#   gopacket: 2 packets of 1 interfaces, EOF
#   gopacket with WantMixedLinkType: 4 packets of 2 interfaces, EOF
#   tcpdump: an interface has a type 101 different from the type of the first interface
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(tcpdump --version 2>&1 | tr '\n' ' ') in
*"tcpdump version 4.99.3 libpcap version 1.10.3"*) ;;
*) echo "needs tcpdump 4.99.3 with libpcap 1.10.3 (Debian 12)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/gopacket/gopacket@v1.7.7 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	f, err := os.Create("two.pcapng")
	check(err)
	w, err := pcapgo.NewNgWriterInterface(f, pcapgo.NgInterface{Name: "eth0", LinkType: layers.LinkTypeEthernet}, pcapgo.DefaultNgWriterOptions)
	check(err)
	_, err = w.AddInterface(pcapgo.NgInterface{Name: "tun0", LinkType: layers.LinkTypeRaw})
	check(err)
	for i := range 4 {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(1_700_000_000, 0), CaptureLength: 40, Length: 40, InterfaceIndex: i % 2}
		check(w.WritePacket(ci, make([]byte, 40)))
	}
	check(w.Flush())
	check(f.Close())
	fmt.Println("written: 4 packets of 2 interfaces")
	for _, mixed := range []bool{false, true} {
		f, err := os.Open("two.pcapng")
		check(err)
		options := pcapgo.DefaultNgReaderOptions
		name := "gopacket"
		if mixed {
			options.WantMixedLinkType = true
			name += " with WantMixedLinkType"
		}
		r, err := pcapgo.NewNgReader(f, options)
		check(err)
		n, from := 0, map[int]bool{}
		for {
			_, ci, err := r.ReadPacketData()
			if err != nil {
				fmt.Printf("%s: %d packets of %d interfaces, %v\n", name, n, len(from), err)
				break
			}
			n++
			from[ci.InterfaceIndex] = true
		}
	}
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
got+=$'\n'$({ tcpdump -nr two.pcapng 2>&1 >/dev/null || true; } | sed -n 's/^tcpdump: pcap_loop: /tcpdump: /p')
echo "$got"
test "$got" = 'written: 4 packets of 2 interfaces
gopacket: 2 packets of 1 interfaces, EOF
gopacket with WantMixedLinkType: 4 packets of 2 interfaces, EOF
tcpdump: an interface has a type 101 different from the type of the first interface'
echo "as described"
