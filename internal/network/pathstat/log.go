package pathstat

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/socket-intents/mamma/internal/process/ownfile"
)

// logQueue is how many snapshots may wait for the disk: 6 s at 10 per second.
const logQueue = 64

// Log writes the measurements to a file in the format of the original's prefix
// or interface log (doc/original/measurement.md 8), a line per prefix or interface and
// pass, each with one write. How the file is treated is package ownfile's business.
//
// Make one with NewPrefixLog or NewInterfaceLog, give Record as or from
// Options.OnSnapshot, and let Run do the writing.
type Log struct {
	log     *slog.Logger
	queue   chan *Snapshot
	dropped atomic.Uint64
	lines   func(*Snapshot, []byte, func([]byte)) []byte

	// The rest belongs to Run.
	file   *ownfile.Log
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
	return &Log{file: ownfile.NewLog(path), log: log.With("path", path), queue: make(chan *Snapshot, logQueue), lines: lines}
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
	defer l.file.Close()
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
	var err error
	l.buf = l.lines(s, l.buf[:0], func(line []byte) {
		if err == nil {
			err = l.file.WriteLine(line)
		}
	})
	switch {
	case err != nil && !l.failed:
		l.log.Warn("cannot write log; lines are lost until it works again", "err", err)
	case err == nil && l.failed:
		l.log.Info("writing log again", "dropped", l.Dropped())
	}
	l.failed = err != nil
}
