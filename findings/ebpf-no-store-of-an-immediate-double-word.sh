#!/usr/bin/env bash
# github.com/cilium/ebpf v0.22.0, Go 1.26
#
# Expected: asm.StoreImm stores an immediate of each size that the instruction set has
# (BPF_ST with BPF_B, BPF_H, BPF_W and BPF_DW, RFC 9669 section 5.3), as StoreMem does
# with a register; the immediate of a double word is extended by its sign.
#
# Seen: with asm.DWord the constructor returns an instruction that looks like the
# others, without an error. When the program is put together it fails with "invalid
# opcode", which names neither the instruction nor the size.
#   Byte: 720af8ff07000000 <nil>
#   Half: 6a0af8ff07000000 <nil>
#   Word: 620af8ff07000000 <nil>
#   DWord: invalid opcode
# A register loaded with the immediate and StoreMem do the same in two instructions.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/cilium/ebpf@v0.22.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"
)

func main() {
	for _, s := range []struct {
		name string
		size asm.Size
	}{{"Byte", asm.Byte}, {"Half", asm.Half}, {"Word", asm.Word}, {"DWord", asm.DWord}} {
		var b bytes.Buffer
		if _, err := asm.StoreImm(asm.R10, -8, 7, s.size).Marshal(&b, binary.LittleEndian); err != nil {
			fmt.Printf("%s: %v\n", s.name, err)
			continue
		}
		fmt.Printf("%s: %x <nil>\n", s.name, b.Bytes())
	}
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'Byte: 720af8ff07000000 <nil>
Half: 6a0af8ff07000000 <nil>
Word: 620af8ff07000000 <nil>
DWord: invalid opcode'
echo "as described"
