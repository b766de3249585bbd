#!/usr/bin/env bash
# github.com/hashicorp/hcl/v2 v2.25.0 (gohcl), Go 1.26
#
# Expected: an attribute that is declared `optional` may be null in the file, which an
# application should take as if it were not there (spec.md of HCL, Null values), as
# Terraform does; the field keeps its zero value then.
#
# Seen: null is an error for each field that is no pointer, optional or not. A pointer to
# a number takes it, and so does a slice or a map.
#   absent: <nil>
#   number = null: null value is not allowed
#   text = null: null value is not allowed
#   pointer = null: <nil>
#   list = null: <nil>
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/hashicorp/hcl/v2/hclsimple@v2.25.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsimple"
)

func main() {
	for _, file := range []string{"", "number = null", "text = null", "pointer = null", "list = null"} {
		var v struct {
			Number  int      `hcl:"number,optional"`
			Text    string   `hcl:"text,optional"`
			Pointer *int     `hcl:"pointer,optional"`
			List    []string `hcl:"list,optional"`
		}
		err := hclsimple.Decode("finding.hcl", []byte(file+"\n"), nil, &v)
		said := "<nil>"
		if many := (hcl.Diagnostics)(nil); errors.As(err, &many) {
			said = strings.TrimPrefix(many[0].Detail, "Unsuitable value: ")
		}
		if file == "" {
			file = "absent"
		}
		fmt.Printf("%s: %s\n", file, said)
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'absent: <nil>
number = null: null value is not allowed
text = null: null value is not allowed
pointer = null: <nil>
list = null: <nil>'
echo "as described"
