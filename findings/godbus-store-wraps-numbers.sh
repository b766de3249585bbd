#!/usr/bin/env bash
# github.com/godbus/dbus/v5 v5.2.4, Go 1.26
#
# Expected: Store copies the values of a message into Go variables, "converting types
# if necessary", and returns an error where a value does not fit, as encoding/json and
# database/sql do; a number for a string is an error.
#
# Seen: numbers are converted as Go's conversions do, without an error. What does not
# fit is cut off, signs change, and a number for a string becomes the character of that
# number. Only another kind of type (a string for a number) is an error.
#   uint32 300 into uint8: 44 <nil>
#   int32 -1 into uint32: 4294967295 <nil>
#   uint32 65 into string: "A" <nil>
#   string into uint32: error
# So that a peer who sends another type than his interface says passes for a value:
# take the exact type (v.Value().(uint32)) and check it.
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

	"github.com/godbus/dbus/v5"
)

func main() {
	var small uint8
	err := dbus.Store([]any{uint32(300)}, &small)
	fmt.Println("uint32 300 into uint8:", small, err)
	var unsigned uint32
	err = dbus.Store([]any{int32(-1)}, &unsigned)
	fmt.Println("int32 -1 into uint32:", unsigned, err)
	var text string
	err = dbus.Store([]any{uint32(65)}, &text)
	fmt.Printf("uint32 65 into string: %q %v\n", text, err)
	if dbus.Store([]any{"7"}, &unsigned) != nil {
		fmt.Println("string into uint32: error")
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'uint32 300 into uint8: 44 <nil>
int32 -1 into uint32: 4294967295 <nil>
uint32 65 into string: "A" <nil>
string into uint32: error'
echo "as described"
