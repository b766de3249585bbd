#!/usr/bin/env bash
# github.com/spf13/pflag v1.1.0, Go 1.26
#
# Expected: a value of several lines for a StringSlice flag, as --server "$(cat servers)"
# makes one, is an element with line ends within it, or an error, or one element for each
# line.
#
# Seen: the first line is taken, everything behind it is dropped, and there is no error:
# the value is read as CSV, of which one record is looked at. A map flag of the same
# library refuses such a value, and StringArray keeps it as it is.
#   StringSlice "192.0.2.1\n192.0.2.2": ["192.0.2.1"]
#   StringSlice "192.0.2.1,192.0.2.2\n192.0.2.3": ["192.0.2.1" "192.0.2.2"]
#   StringToString "a=1,b=2\nc=3": must be a single CSV record; quote fields containing newlines
#   StringArray "192.0.2.1\n192.0.2.2": ["192.0.2.1\n192.0.2.2"]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/spf13/pflag@v1.1.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

func try[T any](name, text string, flag func(*pflag.FlagSet) *T) {
	set := pflag.NewFlagSet("finding", pflag.ContinueOnError)
	set.Usage = func() {}
	v := flag(set)
	if err := set.Parse([]string{"--flag", text}); err != nil {
		fmt.Printf("%s %q: %s\n", name, text, err.Error()[strings.LastIndex(err.Error(), ": ")+2:])
		return
	}
	fmt.Printf("%s %q: %q\n", name, text, *v)
}

func main() {
	slice := func(s *pflag.FlagSet) *[]string { return s.StringSlice("flag", nil, "") }
	try("StringSlice", "192.0.2.1\n192.0.2.2", slice)
	try("StringSlice", "192.0.2.1,192.0.2.2\n192.0.2.3", slice)
	try("StringToString", "a=1,b=2\nc=3", func(s *pflag.FlagSet) *map[string]string { return s.StringToString("flag", nil, "") })
	try("StringArray", "192.0.2.1\n192.0.2.2", func(s *pflag.FlagSet) *[]string { return s.StringArray("flag", nil, "") })
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'StringSlice "192.0.2.1\n192.0.2.2": ["192.0.2.1"]
StringSlice "192.0.2.1,192.0.2.2\n192.0.2.3": ["192.0.2.1" "192.0.2.2"]
StringToString "a=1,b=2\nc=3": must be a single CSV record; quote fields containing newlines
StringArray "192.0.2.1\n192.0.2.2": ["192.0.2.1\n192.0.2.2"]'
echo "as described"
