package config

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// promptTime is how long a running daemon waits for its configuration.
const promptTime = 5 * time.Second

var errLate = errors.New("it could not be read within 5 s; perhaps it is a FIFO that nobody writes to")

// Promptly bounds the time for which a daemon that runs waits for its configuration. At the
// start it may wait for the writer of a FIFO. Later nobody could have it reload again while
// it waits.
func Promptly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, promptTime, errLate)
}

// ReadFile reads the file at path, but no more than most bytes. A caller that gets most
// bytes must treat the file as too long. A FIFO is read once somebody writes to it,
// which may be never: when ctx ends, so does the wait, and ReadFile returns the cause.
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
		return nil, context.Cause(ctx)
	}
}
