package placement

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// Obstacle is a reason why Run cannot place, or move, connections on this host, with a
// remedy.
type Obstacle struct {
	Err    error
	Remedy string // for people; "" if there is none
}

// Probe tests whether Run can place connections on this host, and whether it can move
// those whose network is silent. It starts a process and treats it as Run treats a
// program. self is the name by which this one was called. The results are nil if Run can.
// move is nil, too, if Run cannot place connections.
func Probe(self string) (place, move *Obstacle) {
	s := &supervisor{self: self, plan: plan{Path: "/proc/self/exe", Args: []string{self, probeName, ""}, Group: unix.Getpgrp()}}
	c, err := s.startChild(nil)
	if err != nil {
		return &Obstacle{Err: err}, nil
	}
	var stopErr error
	l, err := c.listener(s.program)
	if err == nil {
		_ = l.Close()
		stopErr = tryToStop(s.program)
	}
	_ = c.tell.Close() // the process ends without becoming a program
	var ws unix.WaitStatus
	for {
		if _, werr := unix.Wait4(s.program, &ws, 0, nil); !errors.Is(werr, unix.EINTR) {
			break
		}
	}
	_ = unix.Close(s.pidfd)
	obstacle := func(err error) *Obstacle {
		if err == nil {
			return nil
		}
		return &Obstacle{err, remedy(err, yama(), status("Seccomp"))}
	}
	return obstacle(err), obstacle(stopErr)
}

// errNotStoppable says that this process may not stop others.
var errNotStoppable = errors.New("stop a process")

// tryToStop stops a child for a moment, as tracer does.
func tryToStop(pid int) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked, as in tracer
		err := os.NewSyscallError("ptrace PTRACE_SEIZE", unix.PtraceSeize(pid))
		if err == nil {
			err = os.NewSyscallError("ptrace PTRACE_INTERRUPT", unix.PtraceInterrupt(pid))
		}
		if err == nil {
			var ws unix.WaitStatus
			for {
				if _, err = unix.Wait4(pid, &ws, unix.WUNTRACED, nil); !errors.Is(err, unix.EINTR) {
					break
				}
			}
			err = errors.Join(os.NewSyscallError("wait4", err), os.NewSyscallError("ptrace PTRACE_DETACH", unix.PtraceDetach(pid)))
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", errNotStoppable, err)
		}
		done <- err
	}()
	return <-done
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
		switch {
		case seccomp != "2":
		case errors.Is(err, errNotStoppable):
			return "a filter of seccomp is in force, as in containers and in services with SystemCallFilter. Let it allow ptrace (docker run --security-opt seccomp=PROFILE)"
		default:
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
