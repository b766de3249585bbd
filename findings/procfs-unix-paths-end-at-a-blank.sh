#!/usr/bin/env bash
# github.com/prometheus/procfs v0.23.0, Go 1.26, Linux
#
# Expected: NetUNIX gives the path of each Unix socket as it was bound.
#
# Seen: a path with blanks ends at the first of them, without an error; what follows is
# lost, as the line is split at blanks. So two sockets may have the same path, and one that
# is looked for by its path is not found. An abstract name keeps the kernel's "@", and ends
# at a blank, too.
#   bound: "one two"         read: "one"
#   bound: "@three four"     read: "@three"
#   bound: "five"            read: "five"
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/prometheus/procfs@v0.23.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net"

	"github.com/prometheus/procfs"
)

func main() {
	fs, err := procfs.NewDefaultFS()
	must(err)
	for _, name := range []string{"one two", "@three four", "five"} {
		before := paths(fs)
		l, err := net.Listen("unix", name)
		must(err)
		for path, n := range paths(fs) {
			if n > before[path] {
				fmt.Printf("bound: %q read: %q\n", name, path)
			}
		}
		must(l.Close())
	}
}

func paths(fs procfs.FS) map[string]int {
	list, err := fs.NetUNIX()
	must(err)
	n := map[string]int{}
	for _, row := range list.Rows {
		if row.Path != "" {
			n[row.Path]++
		}
	}
	return n
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go build -o try .
got=$(unshare --user --map-root-user --net ./try)
echo "$got"
test "$got" = 'bound: "one two" read: "one"
bound: "@three four" read: "@three"
bound: "five" read: "five"'
echo "as described"
