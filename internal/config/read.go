package config

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
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
// Nothing of the wait is left then. A reader that was left would take what is written later
// away from the next one.
func ReadFile(ctx context.Context, path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // does not wait for a writer
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	// Files that are read without a wait have no deadline.
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var text []byte
	if err = awaitWriter(f); err == nil {
		text, err = io.ReadAll(io.LimitReader(f, most))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, context.Cause(ctx)
	}
	return text, err
}

// awaitWriter waits until somebody has written to a FIFO, or has closed it again. Before that,
// reading would find its end.
func awaitWriter(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}
