package main

import (
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a process has used since its start.
type usage struct {
	processor time.Duration
	switches  int // of its present threads
}

// since returns what was used after before.
func (u usage) since(before usage) usage {
	return usage{u.processor - before.processor, u.switches - before.switches}
}

// usageOf returns the zero value if there is no such process.
func usageOf(pid int) (u usage) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return u
	}
	stat, err := p.Stat()
	if err != nil {
		return u
	}
	u.processor = time.Duration(stat.CPUTime() * float64(time.Second))
	threads, _ := procfs.AllThreads(pid) // none if it has ended by now
	for _, t := range threads {
		if status, err := t.NewStatus(); err == nil { // a thread that has ended is left out
			u.switches += int(status.TotalCtxtSwitches()) //nolint:gosec // a count
		}
	}
	return u
}
