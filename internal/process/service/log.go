package service

import (
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"
)

// flushLimit is how long the end of the program waits for the reader of the log.
const flushLimit = time.Second

// Log is a daemon's log on standard error. Its reader may be gone or may not read.
// Messages are then lost, and nothing waits for the reader (see Spool).
type Log struct {
	*slog.Logger
	Spool   *Spool
	level   slog.LevelVar
	handler *Handler
}

// NewLog returns a Log that writes text to stderr, from level info on. From now on a
// broken pipe does not end the process.
func NewLog(stderr io.Writer) *Log {
	signal.Ignore(syscall.SIGPIPE)
	l := &Log{Spool: NewSpool()}
	l.handler = l.Spool.Handler(stderr, &l.level)
	l.Logger = slog.New(l.handler)
	return l
}

// Set changes level and form. level is a text that slog.Level understands; any other
// text leaves the level as it is.
func (l *Log) Set(level string, json bool) {
	_ = l.level.UnmarshalText([]byte(level)) // both flags and configuration were checked before
	l.handler.SetJSON(json)
}

// Close waits until everything is written, but not longer than flushLimit.
func (l *Log) Close() { l.Spool.Close(flushLimit) }
