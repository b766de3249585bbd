package placement

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// Obstacle is a reason why Run cannot place connections on this host, with a remedy.
type Obstacle struct {
	Err    error
	Remedy string // for people; "" if there is none
}

// Probe tests whether Run can place connections on this host. It starts a process and
// treats it as Run treats a program. self is as for Run. Probe returns nil if Run can.
func Probe(self string) *Obstacle {
	s := &supervisor{self: self, plan: plan{Path: "/proc/self/exe", Args: []string{self, probeName, ""}, Group: unix.Getpgrp()}}
	c, err := s.startChild(nil)
	if err != nil {
		return &Obstacle{Err: err}
	}
	l, err := c.listener(s.program)
	_ = c.tell.Close() // the process ends without becoming a program
	var ws unix.WaitStatus
	for {
		if _, werr := unix.Wait4(s.program, &ws, 0, nil); !errors.Is(werr, unix.EINTR) {
			break
		}
	}
	_ = unix.Close(s.pidfd)
	if err == nil {
		_ = l.Close()
		return nil
	}
	return &Obstacle{err, remedy(err, yama(), status("Seccomp"))}
}

// remedy says what to do about an error. It uses what the kernel says about Yama's
// ptrace_scope ("" without Yama) and about this process.
func remedy(err error, yama, seccomp string) string {
	switch {
	case errors.Is(err, unix.EPERM) && (yama == "2" || yama == "3"):
		return fmt.Sprintf("kernel.yama.ptrace_scope is %s, so no process may look at its children. Set it to 1 (sysctl -w kernel.yama.ptrace_scope=1; from 3, only a restart leads to a smaller value)", yama)
	case strings.Contains(err.Error(), notify.ErrBusy.Error()):
		return "run it outside of this program, such as a container's runtime, which uses seccomp notification itself"
	case strings.Contains(err.Error(), notify.ErrUnsupported.Error()):
		return "use Linux 5.9 or later, with CONFIG_SECCOMP_FILTER"
	case errors.Is(err, unix.EPERM) || strings.Contains(err.Error(), unix.EPERM.Error()):
		if seccomp == "2" {
			return "a filter of seccomp is in force, as in containers. Let it allow seccomp, pidfd_getfd and process_vm_readv (docker run --security-opt seccomp=PROFILE)"
		}
	}
	return ""
}

// yama returns the value of Yama's ptrace_scope, "" without Yama.
func yama() string {
	b, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	if err != nil {
		return ""
	}
	if _, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// status returns a field of this process's status (proc_pid_status(5)).
func status(key string) string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
