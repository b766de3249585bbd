package pathstat

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/socket-intents/mamma/internal/process/ownfile"
)

// logQueue is the number of snapshots that may wait for the disk: 6 s at 10 per second.
const logQueue = 64

// Log writes the measurements to a file in the format of the original's prefix or
// interface log (doc/original/measurement.md 8). Each pass adds a line per prefix or
// interface, each with one write. Package ownfile determines how the file is opened and
// reopened.
//
// Make a Log with NewPrefixLog or NewInterfaceLog. Call Record as Options.OnSnapshot,
// or from it, and run Run.
type Log struct {
	log     *slog.Logger
	queue   chan *Snapshot
	dropped atomic.Uint64
	lines   func(*Snapshot, []byte, func([]byte)) []byte

	// The fields below belong to Run.
	file   *ownfile.Log
	failed bool
	buf    []byte
}

// NewPrefixLog makes a log with a line per prefix, without those of loopback.
func NewPrefixLog(path string, log *slog.Logger) *Log { return newLog(path, log, prefixLines) }

// NewInterfaceLog makes a log with a line per interface, without loopback.
func NewInterfaceLog(path string, log *slog.Logger) *Log { return newLog(path, log, interfaceLines) }

func newLog(path string, log *slog.Logger, lines func(*Snapshot, []byte, func([]byte)) []byte) *Log {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Log{file: ownfile.NewLog(path), log: log.With("path", path), queue: make(chan *Snapshot, logQueue), lines: lines}
}

// Record passes a snapshot on to be written. It never blocks: if too many snapshots
// wait for the disk, it drops and counts this one. It is safe for concurrent use.
func (l *Log) Record(s *Snapshot) {
	select {
	case l.queue <- s:
	default:
		l.dropped.Add(1)
	}
}

// Dropped returns how many snapshots were not written because too many waited.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Run writes until the context ends, then writes what still waits, and returns the
// context's cause. If the file cannot be written, for instance because the disk is
// full, Run reports that once, and once more when writing works again. Run may be
// called once.
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
