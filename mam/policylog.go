package mam

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/socket-intents/mamma/internal/process/ownfile"
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
	w := policyFile{log: l.log}
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

// policyFile is the policy's log that was written to last.
type policyFile struct {
	log    *slog.Logger
	file   *ownfile.Log
	failed bool // reported since the last success
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
