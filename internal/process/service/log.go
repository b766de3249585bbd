package service

import (
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"
)

// flushLimit bounds how long the end waits for whoever reads the log.
const flushLimit = time.Second

// Log is what a daemon says on standard error. Who reads that may be gone, or hang:
// messages are lost then, and nothing waits for them (see Spool).
type Log struct {
	*slog.Logger
	Spool   *Spool
	level   slog.LevelVar
	handler *Handler
}

// NewLog logs to stderr, text from level info on. From now on a pipe without a reader
// does not end the process.
func NewLog(stderr io.Writer) *Log {
	signal.Ignore(syscall.SIGPIPE)
	l := &Log{Spool: NewSpool()}
	l.handler = l.Spool.Handler(stderr, &l.level)
	l.Logger = slog.New(l.handler)
	return l
}

// Set changes level and form. A level is as slog.Level has it; another text leaves the
// level as it is.
func (l *Log) Set(level string, json bool) {
	_ = l.level.UnmarshalText([]byte(level)) // both flags and configuration were checked before
	l.handler.SetJSON(json)
}

// Close waits a moment until everything is written.
func (l *Log) Close() { l.Spool.Close(flushLimit) }
