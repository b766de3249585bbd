package config

import (
	"context"
	"io"
	"os"
)

// ReadFile reads the file at path, but no more than most bytes. A caller that gets most
// bytes must treat the file as too long. A FIFO is read once somebody writes to it,
// which may be never: when ctx ends, so does the wait, and ReadFile returns the error
// of ctx.
func ReadFile(ctx context.Context, path string, most int64) ([]byte, error) {
	type content struct {
		text []byte
		err  error
	}
	read := make(chan content, 1)
	go func() { // no signal ends the opening of a FIFO
		f, err := os.Open(path)
		if err != nil {
			read <- content{err: err}
			return
		}
		defer func() { _ = f.Close() }() // only read
		text, err := io.ReadAll(io.LimitReader(f, most))
		read <- content{text, err}
	}()
	select {
	case c := <-read:
		return c.text, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
