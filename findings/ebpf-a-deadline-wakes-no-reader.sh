#!/usr/bin/env bash
# github.com/cilium/ebpf v0.22.0, Go 1.26, Linux (seen with 6.18); needs root or CAP_BPF
#
# Expected: SetDeadline of ringbuf.Reader is that of net.Conn and os.File, whose error it
# returns (os.ErrDeadlineExceeded): it "applies to all future and pending I/O", so that a
# deadline in the past ends a Read that waits, which is how programs in Go stop a reader
# and keep what it reads from.
#
# Seen: it is for the next Read only. Both take the same lock: SetDeadline itself waits
# until the Read that is under way has a record, and then sets what has passed. Close does
# not take it, and ends both, and with them the Reader. So a deadline has to be set before
# each Read, by who reads.
#   a deadline before Read: i/o timeout
#   a deadline during Read: SetDeadline has not returned after 2 s
#   Close: Read says that the file is closed, SetDeadline has returned
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
go get github.com/cilium/ebpf@v0.22.0 >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
)

func main() {
	_ = rlimit.RemoveMemlock() // older kernels count maps
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 4096})
	if err != nil {
		log.Fatal(err)
	}
	r, err := ringbuf.NewReader(m)
	if err != nil {
		log.Fatal(err)
	}
	read := func() chan error {
		done := make(chan error, 1)
		go func() {
			_, err := r.Read()
			done <- err
		}()
		return done
	}
	r.SetDeadline(time.Now().Add(-time.Second))
	err = <-read()
	fmt.Println("a deadline before Read:", os.ErrDeadlineExceeded)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal(err)
	}
	r.SetDeadline(time.Time{})
	done := read()
	select { // until Read waits
	case err := <-done:
		log.Fatal(err)
	case <-time.After(time.Second):
	}
	set := make(chan struct{})
	go func() {
		r.SetDeadline(time.Now().Add(-time.Second))
		close(set)
	}()
	select {
	case err := <-done:
		fmt.Println("a deadline during Read:", err)
	case <-set:
		fmt.Println("a deadline during Read: SetDeadline has returned")
	case <-time.After(2 * time.Second):
		fmt.Println("a deadline during Read: SetDeadline has not returned after 2 s")
	}
	if err := r.Close(); err != nil {
		log.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		log.Fatal(err)
	}
	<-set
	fmt.Println("Close: Read says that the file is closed, SetDeadline has returned")
}
GO
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
test "$got" = 'a deadline before Read: i/o timeout
a deadline during Read: SetDeadline has not returned after 2 s
Close: Read says that the file is closed, SetDeadline has returned'
echo "as described"
