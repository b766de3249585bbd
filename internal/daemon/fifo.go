package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// maxFIFOLine bounds a run-time configuration string. The original took 255
// bytes; longer lines are dropped whole.
const maxFIFOLine = 4096

// fifoPause is how long the end of a line is waited for. Texts without one are as good
// to the original, which takes what it reads at once.
const fifoPause = time.Second

// fifo reads run-time configuration strings, a line each, as the original's
// FIFO takes them (doc/original/daemon.md section 7).
type fifo struct {
	path string
	file *os.File
	made bool // by us, so that we remove it
}

// openFIFO opens the FIFO at path and makes it if nothing is there; "" is none, and
// nil. A link, or anything else than a FIFO, or one of another user than root and us is
// refused.
func openFIFO(path string) (*fifo, error) {
	if path == "" {
		return nil, nil
	}
	f := &fifo{path: path}
	switch err := unix.Mkfifo(path, 0o660); {
	case err == nil:
		f.made = true
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	// Read-write, so that it never reports the end when the last writer leaves.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	if err := checkFIFO(fd); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	f.file = os.NewFile(uintptr(fd), path)
	return f, nil
}

func checkFIFO(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return errors.New("something else than a FIFO is there; it is left alone")
	}
	if !userid.Trusted(st.Uid) {
		return errors.New("the FIFO there belongs to another user")
	}
	return nil
}

// run hands every line to take until ctx ends, and what has no end after a while; of
// none, it returns at once.
func (f *fifo) run(ctx context.Context, log *slog.Logger, take func(string) error) error {
	if f == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = f.file.Close() })
	defer stop()
	l := fifoLine{path: f.path, log: log, take: take}
	buf := make([]byte, maxFIFOLine)
	for {
		n, err := f.file.Read(buf)
		l.add(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			l.end()
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("read FIFO %s: %w", f.path, err)
		}
		var wait time.Time
		if l.begun() {
			wait = time.Now().Add(fifoPause)
		}
		if err := f.file.SetReadDeadline(wait); err != nil && ctx.Err() == nil {
			return fmt.Errorf("read FIFO %s: %w", f.path, err)
		}
	}
}

// fifoLine puts a line together.
type fifoLine struct {
	path string
	log  *slog.Logger
	take func(string) error

	text    []byte // that has come of it
	dropped bool   // it was too long
}

func (l *fifoLine) begun() bool { return len(l.text) > 0 || l.dropped }

// add takes what was read.
func (l *fifoLine) add(b []byte) {
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		if l.dropped = l.dropped || len(l.text)+len(line) > maxFIFOLine; !l.dropped {
			l.text = append(l.text, line...)
		}
		if ended {
			l.end()
		}
		b = rest
	}
}

// end hands the line in.
func (l *fifoLine) end() {
	switch {
	case l.dropped:
		l.log.Warn("configuration string is too long and was dropped", "path", l.path, "max", maxFIFOLine)
	case len(l.text) > 0:
		if err := l.take(string(l.text)); err != nil {
			l.log.Warn("configuration string was refused", "path", l.path, "err", err)
		}
	}
	l.text, l.dropped = l.text[:0], false
}

// close closes the FIFO and removes it if openFIFO made it.
func (f *fifo) close() {
	if f == nil {
		return
	}
	_ = f.file.Close()
	if f.made {
		_ = os.Remove(f.path)
	}
}
