#!/usr/bin/env bash
# Go 1.26, packages net, context and os
#
# Expected: a time-out of package net is os.ErrDeadlineExceeded, as its documentation of
# SetDeadline has it, context.DeadlineExceeded only where a context had one. A dial that a
# context ends gives the context's cause.
#
# Seen: dialling and using a connection are each other's opposite: the end of
# Dialer.Timeout is context.DeadlineExceeded, without any context, and is not
# os.ErrDeadlineExceeded, that of SetReadDeadline the other way round, and both print "i/o
# timeout". The cause that was given to the context is lost.
#   Dialer.Timeout: Timeout() true, context.DeadlineExceeded true, os.ErrDeadlineExceeded false
#   DialContext:    Timeout() true, context.DeadlineExceeded true, os.ErrDeadlineExceeded false
#   SetReadDeadline: Timeout() true, context.DeadlineExceeded false, os.ErrDeadlineExceeded true
#   DialContext, cancelled with a cause: context.Canceled true, the cause false
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go mod init finding >/dev/null 2>&1
cat > main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func tell(name string, err error) {
	var n net.Error
	fmt.Printf("%s Timeout() %v, context.DeadlineExceeded %v, os.ErrDeadlineExceeded %v\n", name,
		errors.As(err, &n) && n.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded))
}

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	address := l.Addr().String()
	_, err = (&net.Dialer{Timeout: time.Nanosecond}).Dial("tcp", address)
	tell("Dialer.Timeout:", err)
	late, stop := context.WithDeadline(context.Background(), time.Now().Add(-1))
	defer stop()
	_, err = (&net.Dialer{}).DialContext(late, "tcp", address)
	tell("DialContext:   ", err)
	c, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	c.SetReadDeadline(time.Now())
	_, err = c.Read(make([]byte, 1))
	tell("SetReadDeadline:", err)
	cause := errors.New("the network went away")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	_, err = (&net.Dialer{}).DialContext(ended, "tcp", address)
	fmt.Printf("DialContext, cancelled with a cause: context.Canceled %v, the cause %v\n", errors.Is(err, context.Canceled), errors.Is(err, cause))
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'Dialer.Timeout: Timeout() true, context.DeadlineExceeded true, os.ErrDeadlineExceeded false
DialContext:    Timeout() true, context.DeadlineExceeded true, os.ErrDeadlineExceeded false
SetReadDeadline: Timeout() true, context.DeadlineExceeded false, os.ErrDeadlineExceeded true
DialContext, cancelled with a cause: context.Canceled true, the cause false'
echo "as described"
