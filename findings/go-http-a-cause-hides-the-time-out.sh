#!/usr/bin/env bash
# Go 1.26, packages net/http and context
#
# Expected: context.WithTimeoutCause adds a cause to what was there: the request's error
# is still context.DeadlineExceeded, with Timeout() true, as ctx.Err() is, and
# context.Cause tells why.
#
# Seen: net/http returns the cause in place of the context's error. Checks for time-outs,
# and retries that stand on them, fail as soon as somebody far away gives the context a
# cause; for a cancelled context, context.Canceled is gone too. Dialer.DialContext does
# the opposite and drops the cause.
#   time-out without a cause: context's error true, Timeout() true
#   time-out with a cause: context's error false, Timeout() false, the cause true
#   cancelled without a cause: context's error true, Timeout() false
#   cancelled with a cause: context's error false, Timeout() false, the cause true
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
	"net/http"
	"net/http/httptest"
	"time"
)

var gone = errors.New("the network went away")

func try(name string, ctx context.Context, url string) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		panic(err)
	}
	_, err = http.DefaultClient.Do(ask)
	var n net.Error
	fmt.Printf("%s: context's error %v, Timeout() %v", name, errors.Is(err, ctx.Err()), errors.As(err, &n) && n.Timeout())
	if context.Cause(ctx) == gone {
		fmt.Printf(", the cause %v", errors.Is(err, gone))
	}
	fmt.Println()
}

func main() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	late, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	try("time-out without a cause", late, server.URL)
	late, stop = context.WithTimeoutCause(context.Background(), 50*time.Millisecond, gone)
	defer stop()
	try("time-out with a cause", late, server.URL)
	for _, cause := range []error{nil, gone} {
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		name := "cancelled without a cause"
		if cause != nil {
			name = "cancelled with a cause"
		}
		try(name, ctx, server.URL)
	}
}
GO
got=$(go run .)
echo "$got"
test "$got" = 'time-out without a cause: context'\''s error true, Timeout() true
time-out with a cause: context'\''s error false, Timeout() false, the cause true
cancelled without a cause: context'\''s error true, Timeout() false
cancelled with a cause: context'\''s error false, Timeout() false, the cause true'
echo "as described"
