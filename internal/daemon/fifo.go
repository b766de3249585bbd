package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/userid"
)

// maxFIFOLine bounds a run-time configuration string. The original took 255
// bytes; longer lines are dropped whole.
const maxFIFOLine = 4096

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

// run hands every line to take until ctx ends; of none, it returns at once.
func (f *fifo) run(ctx context.Context, log *slog.Logger, take func(string) error) error {
	if f == nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = f.file.Close() })
	defer stop()
	r := bufio.NewReaderSize(f.file, maxFIFOLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			log.Warn("configuration string is too long and was dropped", "path", f.path, "max", maxFIFOLine)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = nil
		}
		switch {
		case err == nil && len(line) > 1:
			if err := take(string(line[:len(line)-1])); err != nil {
				log.Warn("configuration string was refused", "path", f.path, "err", err)
			}
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read FIFO %s: %w", f.path, err)
		}
	}
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
