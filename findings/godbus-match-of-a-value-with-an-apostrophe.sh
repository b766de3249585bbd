#!/usr/bin/env bash
# github.com/godbus/dbus/v5 v5.2.4, dbus-daemon 1.14.10 (Debian 12), Go 1.26
#
# Expected: the options of AddMatchSignal take values, and the library writes the match
# rule: WithMatchArg(0, "Kim's phone") matches signals about the network of that name.
#
# Seen: values are put between apostrophes as they are, so one within the value ends it.
# The bus refuses the rule; the error speaks of quotation marks that the caller never
# wrote. Written as the specification wants it (close, \', open again) it matches.
#   Kim: <nil>
#   Kim's phone: Unbalanced quotation marks in match rule
#   Kim'\''s phone: <nil>, signal with "Kim's phone" received
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(dbus-daemon --version | head -n 1) in
*" 1.14.10") ;;
*) echo "needs dbus-daemon 1.14.10 (Debian 12), this is $(dbus-daemon --version | head -n 1)" >&2; exit 1 ;;
esac
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/godbus/dbus/v5@v5.2.4 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

func main() {
	c, err := dbus.ConnectSessionBus()
	if err != nil {
		panic(err)
	}
	for _, v := range []string{"Kim", "Kim's phone"} {
		fmt.Printf("%s: %v\n", v, c.AddMatchSignal(dbus.WithMatchMember("Seen"), dbus.WithMatchArg(0, v)))
	}
	const escaped = `Kim'\''s phone`
	err = c.AddMatchSignal(dbus.WithMatchMember("Seen"), dbus.WithMatchArg(0, escaped))
	got := make(chan *dbus.Signal, 1)
	c.Signal(got)
	if err := c.Emit("/finding", "finding.Network.Seen", "Kim's phone"); err != nil {
		panic(err)
	}
	select {
	case s := <-got:
		fmt.Printf("%s: %v, signal with %q received\n", escaped, err, s.Body[0])
	case <-time.After(10 * time.Second):
		fmt.Printf("%s: %v, no signal\n", escaped, err)
	}
}
GO
go mod tidy >/dev/null 2>&1
go build -o try .
got=$(dbus-run-session -- ./try)
echo "$got"
test "$got" = "Kim: <nil>
Kim's phone: Unbalanced quotation marks in match rule
Kim'\\''s phone: <nil>, signal with \"Kim's phone\" received"
echo "as described"
