package pathstat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// logQueue is how many snapshots may wait for the disk: 6 s at 10 per second.
const logQueue = 64

// Log writes the measurements to a file in the format of the original's prefix
// or interface log (spec/measurement.md 8), a line per prefix or interface and
// pass, each with one write. The file is created if need be and appended to; when
// it was renamed or removed it is made anew. Links are not followed, and only
// regular files are written to.
//
// Make one with NewPrefixLog or NewInterfaceLog, give Record as or from
// Options.OnSnapshot, and let Run do the writing.
type Log struct {
	path    string
	log     *slog.Logger
	queue   chan *Snapshot
	dropped atomic.Uint64
	lines   func(*Snapshot, []byte, func([]byte)) []byte

	// The rest belongs to Run.
	file   *os.File
	torn   bool // the last line in the file has no end
	failed bool
	buf    []byte
}

// NewPrefixLog makes the log of prefixes: a line per prefix, loopback apart.
func NewPrefixLog(path string, log *slog.Logger) *Log { return newLog(path, log, prefixLines) }

// NewInterfaceLog makes the log of interfaces: a line per interface, loopback apart.
func NewInterfaceLog(path string, log *slog.Logger) *Log { return newLog(path, log, interfaceLines) }

func newLog(path string, log *slog.Logger, lines func(*Snapshot, []byte, func([]byte)) []byte) *Log {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Log{path: path, log: log.With("path", path), queue: make(chan *Snapshot, logQueue), lines: lines}
}

// Record hands over a snapshot to be written. It never blocks: what the disk
// cannot take is dropped and counted. It is safe for concurrent use.
func (l *Log) Record(s *Snapshot) {
	select {
	case l.queue <- s:
	default:
		l.dropped.Add(1)
	}
}

// Dropped returns how many snapshots were not written because too many waited.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Run writes until the context ends, then what still waits, and returns the
// context's cause. A file that cannot be written, as on a full disk, is reported
// once, and once more when writing works again. Run may be called once.
func (l *Log) Run(ctx context.Context) error {
	defer l.close()
	for {
		select {
		case s := <-l.queue:
			l.write(s)
		case <-ctx.Done():
			for {
				select {
				case s := <-l.queue:
					l.write(s)
				default:
					return context.Cause(ctx)
				}
			}
		}
	}
}

// write writes the lines of a snapshot.
func (l *Log) write(s *Snapshot) {
	err := l.reopen()
	if err == nil {
		l.buf = l.lines(s, l.buf[:0], func(line []byte) {
			if err == nil {
				err = l.writeLine(line)
			}
		})
	}
	switch {
	case err != nil && !l.failed:
		l.log.Warn("cannot write log; lines are lost until it works again", "err", err)
	case err == nil && l.failed:
		l.log.Info("writing log again", "dropped", l.Dropped())
	}
	l.failed = err != nil
}

func (l *Log) writeLine(line []byte) error {
	if l.torn {
		// End the piece of a line that a full disk has left.
		if _, err := l.file.Write([]byte("\n")); err != nil {
			return err
		}
		l.torn = false
	}
	n, err := l.file.Write(line)
	if err != nil && n > 0 {
		l.torn = true
	}
	return err
}

// reopen opens the file if it is not open or no longer the one of that name.
func (l *Log) reopen() error {
	if l.file != nil {
		open, err := l.file.Stat()
		if err != nil {
			return err
		}
		named, err := os.Lstat(l.path)
		if err == nil && os.SameFile(open, named) {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.close()
	}
	// Without O_NONBLOCK a FIFO of that name would hold us up for ever.
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(l.path, flags, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", l.path)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file = f
	return nil
}

func (l *Log) close() {
	if l.file != nil {
		_ = l.file.Close()
		l.file, l.torn = nil, false
	}
}
