#!/usr/bin/env bash
# Linux (seen with 6.18), github.com/cilium/ebpf v0.22.0, Go 1.26; needs root or CAP_BPF and CAP_PERFMON
#
# Expected: elements of a BPF hash table are freed after a grace period of RCU. So a program that
# has looked a key up reads the value of that key, or the one before, until it ends. To update an
# element with BPF_ANY is atomic: a new one takes the place of the old one.
#
# Seen: the memory of the old element is given to the next element that is written, whatever its
# key is, while a program still holds a pointer to it. The program then reads the value of another
# key. It is so with and without BPF_F_NO_PREALLOC. Here the value of a key is the key itself,
# and is written again and again.
#   preallocated: key 1 had the value 2
#   BPF_F_NO_PREALLOC: key 1 had the value 2
#   with the key in the value, read last: never
# A value that begins with its key shows it: a program reads all else first, then the key, and
# looks it up again if that is another one.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/cilium/ebpf@v0.22.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// seen counts how often a program that looks key 1 up reads something else, while keys 1
// and 2 are written. If checked is set, what has another key in the value does not count.
func seen(flags uint32, checked bool, limit time.Duration) uint64 {
	table, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 64, MaxEntries: 64, Flags: flags})
	if err != nil {
		log.Fatal(err)
	}
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		log.Fatal(err)
	}
	write := func(k uint64) { // the key at the beginning, and the value at the end
		var v [64]byte
		binary.NativeEndian.PutUint64(v[:], k)
		binary.NativeEndian.PutUint64(v[56:], k)
		if err := table.Put(k, v[:]); err != nil {
			log.Fatal(err)
		}
	}
	write(1)
	write(2)
	code := asm.Instructions{
		asm.Mov.Imm(asm.R1, 1), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, table.FD()), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -8),
		asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "end"), asm.Mov.Reg(asm.R6, asm.R0),
	}
	for range 40 { // something else, which takes a microsecond
		code = append(code, asm.FnKtimeGetNs.Call())
	}
	code = append(code, asm.LoadMem(asm.R7, asm.R6, 56, asm.DWord))
	if checked {
		code = append(code, asm.LoadMem(asm.R8, asm.R6, 0, asm.DWord), asm.JNE.Imm(asm.R8, 1, "end"))
	}
	code = append(code,
		asm.JEq.Imm(asm.R7, 1, "end"),
		asm.LoadMapValue(asm.R1, count.FD(), 0), asm.Mov.Imm(asm.R2, 1), asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("end"), asm.Return(),
	)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: code, License: "BSD"})
	if err != nil {
		log.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				write(1)
				write(2)
			}
		}
	}()
	var n uint64
	for begun := time.Now(); time.Since(begun) < limit && n == 0; {
		if _, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: 100_000}); err != nil {
			log.Fatal(err)
		}
		if err := count.Lookup(uint32(0), &n); err != nil {
			log.Fatal(err)
		}
	}
	close(stop)
	<-done
	return n
}

func main() {
	_ = rlimit.RemoveMemlock() // older kernels count maps
	const noPrealloc = 1
	if seen(0, false, 30*time.Second) > 0 {
		fmt.Println("preallocated: key 1 had the value 2")
	}
	if seen(noPrealloc, false, 30*time.Second) > 0 {
		fmt.Println("BPF_F_NO_PREALLOC: key 1 had the value 2")
	}
	if seen(0, true, 5*time.Second)+seen(noPrealloc, true, 5*time.Second) == 0 {
		fmt.Println("with the key in the value, read last: never")
	}
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'preallocated: key 1 had the value 2
BPF_F_NO_PREALLOC: key 1 had the value 2
with the key in the value, read last: never'
echo "as described"
