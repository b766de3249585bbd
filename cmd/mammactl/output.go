package main

import (
	"context"
	"os"
)

// openOutput opens a file to write to. To open a FIFO takes until somebody reads it: when ctx
// ends, so does the wait, with the cause of that end.
func openOutput(ctx context.Context, path string, flags int) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	ready := make(chan opened)
	go func() {
		f, err := os.OpenFile(path, flags, 0o600)
		select {
		case ready <- opened{f, err}:
		case <-ctx.Done():
			_ = f.Close() // of nil, too
		}
	}()
	select {
	case o := <-ready:
		return o.f, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
