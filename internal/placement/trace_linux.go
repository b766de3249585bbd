package placement

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tracer stops threads of the programs for a moment (ptrace(2)). The zero value is ready
// to use. As for copying descriptors, this process must be an ancestor where Yama asks for
// that. In addition, no debugger may trace the thread.
type tracer struct {
	mu    sync.Mutex
	stops map[int]chan unix.WaitStatus // by thread: what wait4(2) says
}

// stopPatience is how long to wait until a thread stops.
const stopPatience = time.Second

var errNotStopped = errors.New("the thread does not stop")

// stopByTrace is PTRACE_EVENT_STOP (linux/ptrace.h).
const stopByTrace = 128

// saw takes what wait4(2) says about a thread. It returns false unless the thread is one to
// be held, and has stopped, for whatever reason.
func (t *tracer) saw(tid int, ws unix.WaitStatus) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.stops[tid]
	if c == nil || !ws.Stopped() {
		return false
	}
	select {
	case c <- ws:
	default:
	}
	return true
}

// hold calls f while a thread is stopped. After an error before that, f is not called. A
// signal that comes first is passed on to the thread.
func (t *tracer) hold(tid uint32, f func() error) error {
	c := make(chan unix.WaitStatus, 1)
	t.mu.Lock()
	if t.stops == nil {
		t.stops = map[int]chan unix.WaitStatus{}
	}
	_, busy := t.stops[int(tid)]
	if !busy {
		t.stops[int(tid)] = c
	}
	t.mu.Unlock()
	if busy {
		return errNotStopped
	}
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.stops, int(tid))
	}()
	done := make(chan error)
	go func() {
		// For ptrace(2), the tracer is a thread. The goroutine never unlocks its thread, so
		// the thread ends with it. The kernel then lets go whatever the thread still traces.
		runtime.LockOSThread()
		done <- stopFor(int(tid), c, f)
	}()
	return <-done
}

func stopFor(tid int, stops <-chan unix.WaitStatus, f func() error) (err error) {
	if err := unix.PtraceSeize(tid); err != nil {
		return os.NewSyscallError("ptrace PTRACE_SEIZE", err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return os.NewSyscallError("ptrace PTRACE_INTERRUPT", err)
	}
	select {
	case ws := <-stops:
		signal := 0
		switch {
		case int(ws)>>16 != stopByTrace: // a signal has come, which is to be passed on
			signal, err = int(ws.StopSignal()), errOtherUse
		case ws.StopSignal() != unix.SIGTRAP: // the program is being stopped by its user
			err = errOtherUse
		default:
			err = f()
		}
		if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0); errno != 0 {
			err = errors.Join(err, os.NewSyscallError("ptrace PTRACE_DETACH", errno))
		}
		return err
	case <-time.After(stopPatience):
		return errNotStopped
	}
}
