package main

import (
	"bytes"
	"context"
	"path/filepath"

	"testing"

	"golang.org/x/sys/unix"
)

// While the program waits for a configuration that nobody writes to its FIFO, it can be
// ended.
func TestEndWhileTheConfigurationIsAwaited(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan int)
	var out, errs bytes.Buffer
	go func() { ended <- run(ctx, []string{fifo}, &out, &errs) }()
	end()
	if code := <-ended; code != 0 || errs.Len() > 0 {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}
