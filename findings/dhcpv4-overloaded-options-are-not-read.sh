#!/usr/bin/env bash
# github.com/insomniacslk/dhcp v0.0.0-20260901064844-234b97448fae, Go 1.26
#
# Expected: FromBytes reads all options of a message, those in the fields "file" and
# "sname" too where option 52 says that they hold options (RFC 2131 section 4.1, RFC
# 2132 section 9.3), as servers do when a lease has more options than fit.
#
# Seen: option 52 is kept as one more option and not obeyed. What lies in "file" is not
# among the options, and its octets up to the first zero are the boot file's name.
#   router [192.0.2.1], overload [1], DNS []
#   boot file "\x06\x04\xc0"
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/insomniacslk/dhcp/dhcpv4@v0.0.0-20260901064844-234b97448fae >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func main() {
	offer, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)))
	if err != nil {
		panic(err)
	}
	offer.OpCode = dhcpv4.OpcodeBootReply
	overload := dhcpv4.GenericOptionCode(52)
	offer.UpdateOption(dhcpv4.OptGeneric(overload, []byte{1})) // "file" holds options
	b := offer.ToBytes()
	const file = 108
	copy(b[file:], []byte{6, 4, 192, 0, 2, 53, 255}) // domain name server, end
	m, err := dhcpv4.FromBytes(b)
	if err != nil {
		panic(err)
	}
	fmt.Printf("router %v, overload %v, DNS %v\n", m.Router(), m.Options.Get(overload), m.DNS())
	fmt.Printf("boot file %+q\n", m.BootFileName)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'router [192.0.2.1], overload [1], DNS []
boot file "\x06\x04\xc0"'
echo "as described"
