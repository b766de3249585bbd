package mam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// policyLog writes the policies' own logs off the request path. A line that
// finds the queue full is dropped and counted: a slow disk must not slow down
// decisions.
type policyLog struct {
	log   *slog.Logger
	lines chan policyLine
}

type policyLine struct {
	file, text string
	at         time.Time
}

// policyLogQueue is the number of lines that may wait: a second's worth at
// 10 000 decisions per second is far more than a log is good for.
const policyLogQueue = 4096

func newPolicyLog(log *slog.Logger) policyLog {
	return policyLog{log: log, lines: make(chan policyLine, policyLogQueue)}
}

// write queues a line of a policy. A leading "<ts>" becomes the time.
func (l policyLog) write(file, text string, at time.Time) {
	select {
	case l.lines <- policyLine{file, text, at}:
	default:
	}
}

// run writes lines until ctx ends and everything queued by then is written.
func (l policyLog) run(ctx context.Context) {
	w := logFile{log: l.log}
	defer w.close()
	for {
		select {
		case line := <-l.lines:
			w.write(line)
		case <-ctx.Done():
			for {
				select {
				case line := <-l.lines:
					w.write(line)
				default:
					return
				}
			}
		}
	}
}

// logFile is the log that is open now.
type logFile struct {
	log    *slog.Logger
	name   string
	f      *os.File
	failed bool // reported since the last success
}

func (w *logFile) write(line policyLine) {
	text, stamped := strings.CutPrefix(line.text, "<ts>")
	if stamped {
		text = fmt.Sprintf("%d.%06d", line.at.Unix(), line.at.Nanosecond()/1000) + text
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	err := w.open(line.file)
	if err == nil {
		_, err = w.f.WriteString(text)
	}
	switch {
	case err == nil:
		w.failed = false
	case !w.failed:
		w.failed = true
		w.log.Error("policy log cannot be written; lines are lost until it can", "file", line.file, "err", err)
	}
}

// open makes w.f the file of that name: opened again after rotation, never
// through a link, never anything but a regular file.
func (w *logFile) open(name string) error {
	if w.f != nil {
		have, err1 := w.f.Stat()
		there, err2 := os.Lstat(name)
		if w.name == name && err1 == nil && err2 == nil && os.SameFile(have, there) {
			return nil
		}
		w.close()
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			return fmt.Errorf("open %s: it is a symbolic link", name)
		}
		return err
	}
	if fi, err := f.Stat(); err != nil || fi.Mode().Type() != fs.FileMode(0) {
		_ = f.Close()
		return fmt.Errorf("open %s: not a regular file", name)
	}
	w.name, w.f = name, f
	return nil
}

func (w *logFile) close() {
	if w.f != nil {
		_ = w.f.Close()
		w.f = nil
	}
}
