#!/usr/bin/env bash
# github.com/coreos/go-systemd/v22 v22.7.0 (unit), systemd 252 (Debian 12), Go 1.26
#
# Expected: a unit file that systemd takes without a word is read by go-systemd as systemd
# reads it. In a line continued with a backslash, a line that begins with "#" or ";" is a
# comment and the line goes on after it (systemd.syntax(7)).
#
# Seen: the comment ends the value and is part of it, and what follows is an error:
# unit.DeserializeOptions fails for a file that is in order, after it has given a command
# that ends in a comment.
#   systemd-analyze verify: nothing to say
#   go-systemd: ExecStart="/bin/true \\\n# what it is for"
#   go-systemd: unexpected newline encountered while parsing option name
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
case $(systemd-analyze --version | head -n 1) in
"systemd 252 "*) ;;
*) echo "needs systemd 252 (Debian 12), this is $(systemd-analyze --version | head -n 1)" >&2; exit 1 ;;
esac
cd "$dir"
cat > finding.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/true \
# what it is for
  --first
UNIT
go mod init finding >/dev/null 2>&1
go get github.com/coreos/go-systemd/v22@v22.7.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"github.com/coreos/go-systemd/v22/unit"
)

func main() {
	f, err := os.Open("finding.service")
	if err != nil {
		panic(err)
	}
	options, err := unit.DeserializeOptions(f)
	for _, o := range options {
		if o.Name == "ExecStart" {
			fmt.Printf("go-systemd: %s=%q\n", o.Name, o.Value)
		}
	}
	fmt.Println("go-systemd:", err)
}
GO
go mod tidy >/dev/null 2>&1
said=$(systemd-analyze verify --man=no ./finding.service 2>&1)
got="systemd-analyze verify: ${said:-nothing to say}"$'\n'$(go run .)
echo "$got"
test "$got" = 'systemd-analyze verify: nothing to say
go-systemd: ExecStart="/bin/true \\\n# what it is for"
go-systemd: unexpected newline encountered while parsing option name'
echo "as described"
