#!/usr/bin/env bash
# github.com/spf13/pflag v1.1.0, github.com/hashicorp/hcl/v2 v2.25.0, Go 1.26
#
# Expected: a number with leading zeros means the same to each kind of flag of one
# library, and the same as in the configuration file of the program: --port=0443 is port
# 443 everywhere, or octal everywhere, or refused.
#
# Seen: flags of one number, and slices of int32 and int64, take the base from the prefix,
# so that a leading zero makes it octal; slices and maps of int are decimal, as HCL is.
# --table 0100 is table 64, and the same in a list is 100.
#   Int 0100: 64
#   Uint16 0100: 64
#   Int32Slice 0100: [64]
#   IntSlice 0100: [100]
#   StringToInt a=0100: map[a:100]
#   Int 0x64: 100
#   IntSlice 0x64: error
#   HCL table = 0100: 100
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/spf13/pflag@v1.1.0 github.com/hashicorp/hcl/v2/hclsimple@v2.25.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"

	"github.com/hashicorp/hcl/v2/hclsimple"
	"github.com/spf13/pflag"
)

func try[T any](name, text string, flag func(*pflag.FlagSet) *T) {
	set := pflag.NewFlagSet("finding", pflag.ContinueOnError)
	v := flag(set)
	if err := set.Set("flag", text); err != nil {
		fmt.Printf("%s %s: error\n", name, text)
		return
	}
	fmt.Printf("%s %s: %v\n", name, text, *v)
}

func main() {
	one := func(s *pflag.FlagSet) *int { return s.Int("flag", 0, "") }
	many := func(s *pflag.FlagSet) *[]int { return s.IntSlice("flag", nil, "") }
	try("Int", "0100", one)
	try("Uint16", "0100", func(s *pflag.FlagSet) *uint16 { return s.Uint16("flag", 0, "") })
	try("Int32Slice", "0100", func(s *pflag.FlagSet) *[]int32 { return s.Int32Slice("flag", nil, "") })
	try("IntSlice", "0100", many)
	try("StringToInt", "a=0100", func(s *pflag.FlagSet) *map[string]int { return s.StringToInt("flag", nil, "") })
	try("Int", "0x64", one)
	try("IntSlice", "0x64", many)
	var file struct {
		Table int `hcl:"table"`
	}
	if err := hclsimple.Decode("finding.hcl", []byte("table = 0100\n"), nil, &file); err != nil {
		panic(err)
	}
	fmt.Println("HCL table = 0100:", file.Table)
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'Int 0100: 64
Uint16 0100: 64
Int32Slice 0100: [64]
IntSlice 0100: [100]
StringToInt a=0100: map[a:100]
Int 0x64: 100
IntSlice 0x64: error
HCL table = 0100: 100'
echo "as described"
