#!/usr/bin/env bash
# github.com/hashicorp/hcl/v2 v2.25.0, Go 1.26
#
# Expected: the native and the JSON form of one HCL file mean the same: "$${x}" is the
# text ${x} in both, and "${1 + 1}" is 2, whether or not the program gives variables. An
# EvalContext without variables is like none.
#
# Seen: in JSON it depends on the program's last argument. With a nil EvalContext strings
# are taken as they are, escapes included; with an empty one they are templates. A program
# that begins to offer a variable changes all its users' JSON files, and a file that was
# made from the native form is read otherwise.
#   native, nil: "$${x}" is "${x}", "${1 + 1}" is "2"
#   native, empty: "$${x}" is "${x}", "${1 + 1}" is "2"
#   JSON, nil: "$${x}" is "$${x}", "${1 + 1}" is "${1 + 1}"
#   JSON, empty: "$${x}" is "${x}", "${1 + 1}" is "2"
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/hashicorp/hcl/v2/hclsimple@v2.25.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsimple"
)

func main() {
	for _, form := range []struct{ name, file, format string }{{"native", "a.hcl", "text = \"%s\"\n"}, {"JSON", "a.json", `{"text": "%s"}`}} {
		for _, context := range []struct {
			name string
			hcl  *hcl.EvalContext
		}{{"nil", nil}, {"empty", &hcl.EvalContext{}}} {
			read := func(text string) string {
				var v struct {
					Text string `hcl:"text"`
				}
				if err := hclsimple.Decode(form.file, fmt.Appendf(nil, form.format, text), context.hcl, &v); err != nil {
					return err.Error()
				}
				return v.Text
			}
			fmt.Printf("%s, %s: \"$${x}\" is %q, \"${1 + 1}\" is %q\n", form.name, context.name, read("$${x}"), read("${1 + 1}"))
		}
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'native, nil: "$${x}" is "${x}", "${1 + 1}" is "2"
native, empty: "$${x}" is "${x}", "${1 + 1}" is "2"
JSON, nil: "$${x}" is "$${x}", "${1 + 1}" is "${1 + 1}"
JSON, empty: "$${x}" is "${x}", "${1 + 1}" is "2"'
echo "as described"
