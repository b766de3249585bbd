#!/usr/bin/env bash
# github.com/godbus/dbus/v5 v5.2.4 (package prop), Go 1.26
#
# Expected: prop.Properties, "safe for concurrent use by multiple goroutines", replaces
# the value of a property by SetMust, as a remote Set does.
#
# Seen: the new value is stored into the old one, element by element. So a slice that was
# given to Export, or was returned by GetMust, changes in the hands of whoever has it; an
# answer to a peer that is being written meanwhile is read without the lock (the race
# detector says so, and the peer may get half of each). A map is not replaced at all: the
# keys of the old value stay.
#   given to Export: [9 2], then [9 7]
#   from GetMust:    [9 7]
#   a map:           map[a:1], then map[a:1 b:2]
# To replace a value, serve org.freedesktop.DBus.Properties by a type of your own that
# never changes what it has given away.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/godbus/dbus/v5@v5.2.4 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

const name = "org.example.Device"

func main() {
	end, _ := net.Pipe() // nothing is sent
	conn, err := dbus.NewConn(end)
	if err != nil {
		panic(err)
	}
	given := []uint32{1, 2}
	p, err := prop.Export(conn, "/d", prop.Map{name: {
		"Channels": {Value: given},
		"Options":  {Value: map[string]uint32{"a": 1}},
	}})
	if err != nil {
		panic(err)
	}
	p.SetMust(name, "Channels", []uint32{9, 2})
	got := p.GetMust(name, "Channels")
	fmt.Print("given to Export: ", given)
	p.SetMust(name, "Channels", []uint32{9, 7})
	fmt.Println(", then", given)
	fmt.Println("from GetMust:   ", got)

	fmt.Print("a map:           ", p.GetMust(name, "Options"))
	p.SetMust(name, "Options", map[string]uint32{"b": 2})
	fmt.Println(", then", p.GetMust(name, "Options"))
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'given to Export: [9 2], then [9 7]
from GetMust:    [9 7]
a map:           map[a:1], then map[a:1 b:2]'
echo "as described"
