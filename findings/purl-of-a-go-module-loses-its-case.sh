#!/usr/bin/env bash
# github.com/package-url/packageurl-go v0.1.7, Go 1.26
#
# Expected: the package URL of a Go module names that module. Module paths tell capital
# letters from small ones, so what is read from a bill of materials is the path that was
# written there, and it can be given to the go command.
#
# Seen: FromString makes namespace and name of type golang lower-case, as the registry of
# purl types says, and gives another module; the one that was written is not to be had
# from the value. NewPackageURL with ToString keeps capitals, so that the two ways to a
# URL of one module differ, and comparing them as text finds a component missing.
#   built: pkg:golang/github.com/BurntSushi/toml@v1.4.0
#   read again: pkg:golang/github.com/burntsushi/toml@v1.4.0
#   module path of it: github.com/burntsushi/toml
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/package-url/packageurl-go@v0.1.7 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"

	"github.com/package-url/packageurl-go"
)

func main() {
	text := packageurl.NewPackageURL("golang", "github.com/BurntSushi", "toml", "v1.4.0", nil, "").ToString()
	fmt.Println("built:", text)
	p, err := packageurl.FromString(text)
	if err != nil {
		panic(err)
	}
	fmt.Println("read again:", p.ToString())
	fmt.Println("module path of it:", p.Namespace+"/"+p.Name)
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'built: pkg:golang/github.com/BurntSushi/toml@v1.4.0
read again: pkg:golang/github.com/burntsushi/toml@v1.4.0
module path of it: github.com/burntsushi/toml'
echo "as described"
