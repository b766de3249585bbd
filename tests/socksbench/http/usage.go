package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
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
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u
	}
	// The name may hold spaces. utime and stime are the 12th and 13th field after it, in
	// hundredths of a second (proc_pid_stat(5)).
	if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(f) > 12 {
		for _, ticks := range f[11:13] {
			n, _ := strconv.Atoi(string(ticks)) // the kernel writes numbers
			u.processor += time.Duration(n) * 10 * time.Millisecond
		}
	}
	threads, _ := filepath.Glob(filepath.Join(dir, "task", "*", "status")) // the pattern is valid
	for _, name := range threads {
		status, _ := os.ReadFile(name) // a thread that has ended is left out
		for line := range strings.Lines(string(status)) {
			if key, value, _ := strings.Cut(line, ":"); strings.HasSuffix(key, "voluntary_ctxt_switches") {
				n, _ := strconv.Atoi(strings.TrimSpace(value))
				u.switches += n
			}
		}
	}
	return u
}
