package mam

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/process/ownfile"
)

// policyLog writes the policies' own log files, outside of the request path. A slow
// disk must not slow down decisions: a line that finds the queue full is dropped and
// counted.
type policyLog struct {
	log   *slog.Logger
	lines chan policyLine
	lost  *atomic.Uint64 // lines that were dropped, since the last message about them
}

type policyLine struct {
	file, text string
	at         time.Time
}

// policyLogQueue is the number of lines that may wait. At 10 000 decisions a second it
// is half a second's worth, far more than a disk that works needs.
const policyLogQueue = 4096

func newPolicyLog(log *slog.Logger) policyLog {
	return policyLog{log: log, lines: make(chan policyLine, policyLogQueue), lost: new(atomic.Uint64)}
}

// write queues a line of a policy's log. The time replaces a leading "<ts>".
func (l policyLog) write(file, text string, at time.Time) {
	select {
	case l.lines <- policyLine{file, text, at}:
	default:
		l.lost.Add(1)
	}
}

// run writes lines until ctx ends, and then the lines that are still queued.
func (l policyLog) run(ctx context.Context) {
	w := policyFile{log: l.log}
	defer w.close()
	for {
		select {
		case line := <-l.lines:
			w.write(line)
			l.tellLost()
		case <-ctx.Done():
			for {
				select {
				case line := <-l.lines:
					w.write(line)
				default:
					l.tellLost()
					return
				}
			}
		}
	}
}

// tellLost logs how many lines were dropped, as soon as no line waits.
func (l policyLog) tellLost() {
	if len(l.lines) > 0 {
		return
	}
	if n := l.lost.Swap(0); n > 0 {
		l.log.Warn("lines of a policy's log are lost, as the disk was too slow", "dropped", n)
	}
}

// policyFile is the log file that was written to last. It stays open for the next line.
type policyFile struct {
	log    *slog.Logger
	file   *ownfile.Log
	failed bool // an error was reported since the last success
}

func (w *policyFile) write(line policyLine) {
	text, stamped := strings.CutPrefix(line.text, "<ts>")
	if stamped {
		text = fmt.Sprintf("%d.%06d", line.at.Unix(), line.at.Nanosecond()/1000) + text
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if w.file == nil || w.file.Path() != line.file {
		w.close()
		w.file = ownfile.NewLog(line.file)
	}
	err := w.file.WriteLine([]byte(text))
	if err != nil && !w.failed {
		w.log.Error("policy log cannot be written; lines are lost until it can", "path", line.file, "err", err)
	}
	w.failed = err != nil
}

func (w *policyFile) close() {
	if w.file != nil {
		w.file.Close()
	}
}
