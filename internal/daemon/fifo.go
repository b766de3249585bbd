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

// maxFIFOLine bounds a run-time configuration string. Longer lines are dropped as a
// whole. The original's bound is 255 bytes.
const maxFIFOLine = 4096

// fifoPause is how long run waits for the end of a line. After that the text counts
// without its newline, because the original takes what it reads at once.
const fifoPause = time.Second

// fifo reads run-time configuration strings, one per line, as from the original's FIFO
// (doc/original/daemon.md section 7).
type fifo struct {
	path string
	file *os.File
	made bool // this process made it, and so removes it
}

// openFIFO opens the FIFO at path, and makes it if nothing is there. For the path "" it
// returns nil. It refuses links, hard ones included, files of other kinds, and FIFOs whose
// owner is neither root nor this process's user.
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
	// It is opened for writing as well, so that reading does not end when the last
	// writer leaves.
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
		return errors.New("something other than a FIFO is there; it is left alone")
	}
	if !userid.Trusted(st.Uid) {
		return errors.New("the FIFO there belongs to another user")
	}
	if st.Nlink > 1 {
		return errors.New("the FIFO there has another name, and somebody other than its owner could have given it this one")
	}
	return nil
}

// run passes every line to take until ctx ends. Text without a newline is passed on
// after a pause. Without a FIFO, run returns at once.
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

// fifoLine collects the bytes of a line.
type fifoLine struct {
	path string
	log  *slog.Logger
	take func(string) error

	text    []byte // the bytes so far
	dropped bool   // the line is too long
}

func (l *fifoLine) begun() bool { return len(l.text) > 0 || l.dropped }

// add takes bytes that were read.
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

// end passes the line on.
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

// close closes the FIFO, and removes it if openFIFO made it.
func (f *fifo) close() {
	if f == nil {
		return
	}
	_ = f.file.Close()
	if f.made {
		_ = os.Remove(f.path)
	}
}
