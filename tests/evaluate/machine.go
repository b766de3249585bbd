package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes where and with what a run was made.
type machine struct {
	Date      time.Time `json:"date"`
	Processor string    `json:"processor"`
	Cores     int       `json:"cores"`
	Load      string    `json:"load"` // averages at the start
	Kernel    string    `json:"kernel"`
	Go        string    `json:"go"`
	Version   string    `json:"version"`
}

func thisMachine(now time.Time) machine {
	m := machine{Date: now.UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	info, _ := os.ReadFile("/proc/cpuinfo") // without it the field stays empty
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load = strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " ")
	out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if m.Version = strings.TrimSpace(string(out)); err != nil {
		m.Version = "unknown"
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s; mamma %s, %s, %s, %d cores of %q, load %s at the start",
		m.Date.Format(time.RFC3339), m.Version, m.Go, m.Kernel, m.Cores, m.Processor, m.Load)
}
