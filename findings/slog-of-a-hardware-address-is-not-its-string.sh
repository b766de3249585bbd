#!/usr/bin/env bash
# Go 1.26, packages log/slog and net
#
# Expected: slog writes a value that has a String method by it, as fmt does, at least in
# its text form: a net.HardwareAddr is 02:00:00:00:00:09, a net.IPMask ffffff00. What the
# text handler writes readably is readable in JSON.
#
# Seen: as both are []byte without MarshalText, the text handler writes their octets as a
# string, the JSON handler base64. Durations, UDP addresses and networks are readable as
# text; JSON has nanoseconds without a unit and Go's fields, and an error within a list
# vanishes. An attribute has to be made by String().
#   mac="\x02\x00\x00\x00\x00\t"  {"mac":"AgAAAAAJ"}
#   mask="\xff\xff\xff\x00"  {"mask":"////AA=="}
#   net=192.0.2.0/24  {"net":{"IP":"192.0.2.0","Mask":"////AA=="}}
#   udp=192.0.2.1:53  {"udp":{"IP":"192.0.2.1","Port":53,"Zone":""}}
#   rtt=15ms  {"rtt":15000000}
#   errors="[unreachable refused]"  {"errors":[{},{}]}
#   error=refused  {"error":"refused"}
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

func main() {
	mac, _ := net.ParseMAC("02:00:00:00:00:09")
	_, network, _ := net.ParseCIDR("192.0.2.0/24")
	refused := errors.New("refused")
	options := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey:
			return slog.Attr{}
		}
		return a
	}}
	for _, a := range []slog.Attr{
		slog.Any("mac", mac),
		slog.Any("mask", network.Mask),
		slog.Any("net", network),
		slog.Any("udp", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 53}),
		slog.Duration("rtt", 15*time.Millisecond),
		slog.Any("errors", []error{errors.New("unreachable"), refused}),
		slog.Any("error", refused),
	} {
		var text, json bytes.Buffer
		slog.New(slog.NewTextHandler(&text, options)).LogAttrs(nil, slog.LevelInfo, "", a)
		slog.New(slog.NewJSONHandler(&json, options)).LogAttrs(nil, slog.LevelInfo, "", a)
		fmt.Printf("%s  %s\n", strings.TrimSpace(text.String()), strings.TrimSpace(json.String()))
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'mac="\x02\x00\x00\x00\x00\t"  {"mac":"AgAAAAAJ"}
mask="\xff\xff\xff\x00"  {"mask":"////AA=="}
net=192.0.2.0/24  {"net":{"IP":"192.0.2.0","Mask":"////AA=="}}
udp=192.0.2.1:53  {"udp":{"IP":"192.0.2.1","Port":53,"Zone":""}}
rtt=15ms  {"rtt":15000000}
errors="[unreachable refused]"  {"errors":[{},{}]}
error=refused  {"error":"refused"}'
echo "as described"
