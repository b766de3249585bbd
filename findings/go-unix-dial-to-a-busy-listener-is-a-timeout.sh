#!/usr/bin/env bash
# Go 1.26, package net, on Linux
#
# Expected: a Unix stream socket whose listener has a full backlog makes DialTimeout
# wait until a place is free, or until the given time is over, as with TCP. An error
# with Timeout() true means that this time has passed.
#
# Seen: Dial fails at once with EAGAIN, "resource temporarily unavailable"; the given
# time means nothing, as nothing can be waited for (connect(2) of a non-blocking Unix
# socket). The error says Timeout() == true all the same, so a program that takes that
# for "I have waited long enough" gives up where it should try again soon.
#   first: connected
#   second: EAGAIN, Timeout() true, before the 5 s were over
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

func main() {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: "socket"})
	}
	if err == nil {
		err = syscall.Listen(fd, 0) // room for one
	}
	if err != nil {
		panic(err)
	}
	if _, err := net.DialTimeout("unix", "socket", 5*time.Second); err != nil {
		panic(err)
	}
	fmt.Println("first: connected")
	begun := time.Now()
	_, err = net.DialTimeout("unix", "socket", 5*time.Second)
	when := "after the 5 s"
	if time.Since(begun) < 4*time.Second {
		when = "before the 5 s were over"
	}
	var ne net.Error
	if !errors.Is(err, syscall.EAGAIN) || !errors.As(err, &ne) {
		panic(err)
	}
	fmt.Printf("second: EAGAIN, Timeout() %v, %s\n", ne.Timeout(), when)
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'first: connected
second: EAGAIN, Timeout() true, before the 5 s were over'
echo "as described"
