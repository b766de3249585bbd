package placement

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// tracer stops threads of the programs for a moment (ptrace(2)). The zero value is ready
// to use. As for copying descriptors, this process must be an ancestor where Yama asks for
// that. In addition, no debugger may trace the thread.
type tracer struct {
	turn sync.Mutex // held while threads are stopped, so that those who need the same ones wait

	mu    sync.Mutex
	heard map[int]chan<- stop // by thread: where to tell what wait4(2) says
}

// stop is what wait4(2) says about a thread.
type stop struct {
	tid int
	ws  unix.WaitStatus
}

const (
	// stopPatience is how long to wait until a thread stops that others need not wait for.
	stopPatience = time.Second
	// allPatience is how long to wait until all threads of a process stop. Meanwhile those
	// that have stopped do nothing, which nobody should notice.
	allPatience = 200 * time.Millisecond
	// maxHeld bounds the threads that are stopped at the same time. Few programs have more.
	maxHeld = 256
)

var (
	errNotStopped = errors.New("a thread of the program was busy in the kernel, and could not be stopped for a moment")
	errTooMany    = fmt.Errorf("the program has more than %d threads, too many to stop for a moment", maxHeld)
)

// stopByTrace is PTRACE_EVENT_STOP (linux/ptrace.h).
const stopByTrace = 128

// byUser tells whether a stop is one of job control, such as after ^Z.
func (s stop) byUser() bool {
	return s.ws.Stopped() && int(s.ws)>>16 == stopByTrace && s.ws.StopSignal() != unix.SIGTRAP
}

// saw takes what wait4(2) says about a thread. It returns true if that concerns nobody
// else, because the thread has only stopped for its tracer.
func (t *tracer) saw(tid int, ws unix.WaitStatus) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, s := t.heard[tid], stop{tid, ws}
	if c == nil {
		return false
	}
	select {
	case c <- s:
	default: // nobody waits for that many
	}
	return ws.Stopped() && !s.byUser()
}

// hold calls f while a thread is stopped. If a signal or its user stops the thread first,
// that is an error, and f is not called. Nor is it after another error before that.
func (t *tracer) hold(tid uint32, f func() error) error {
	return t.trace(stopPatience, func(h *held) error {
		if err := h.seize(int(tid)); err != nil {
			return err
		}
		if err := h.await(); err != nil {
			return err
		}
		switch s, ok := h.stopped[int(tid)]; {
		case !ok:
			return errGone
		case s.byUser(), h.signal(s) != 0:
			return errSignal
		}
		return f()
	})
}

// holdAll calls f while all threads of a process are stopped. After an error before that,
// f is not called. Signals that come meanwhile reach the threads afterwards.
func (t *tracer) holdAll(pid int, f func() error) error {
	return t.trace(allPatience, func(h *held) error {
		for {
			more, err := h.seizeNew(pid)
			switch {
			case err != nil:
				return err
			case !more: // those that have stopped begin no new ones
				return f()
			}
			if err := h.await(); err != nil {
				return err
			}
		}
	})
}

// trace calls do on a thread of its own, and lets go what it has stopped.
func (t *tracer) trace(patience time.Duration, do func(*held) error) error {
	t.turn.Lock()
	defer t.turn.Unlock()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	h := &held{tracer: t, heard: make(chan stop, 2*maxHeld), limit: limit.C, awaited: map[int]bool{}, stopped: map[int]stop{}}
	done := make(chan error)
	go func() {
		// For ptrace(2), the tracer is a thread. The goroutine never unlocks its thread, so
		// the thread ends with it. The kernel then lets go whatever the thread still traces,
		// such as a thread that has not stopped yet.
		runtime.LockOSThread()
		err := do(h)
		done <- errors.Join(err, h.release())
	}()
	return <-done
}

// held are threads that are stopped, or about to stop. It is used on the thread that
// traces them.
type held struct {
	tracer  *tracer
	heard   chan stop
	limit   <-chan time.Time
	awaited map[int]bool // those that have not stopped yet
	stopped map[int]stop
}

// seizeNew makes the threads of a process stop that were not made to before. It returns
// false if there are none.
func (h *held) seizeNew(pid int) (more bool, err error) {
	list, err := tasks(pid)
	if err != nil {
		return false, err
	}
	for _, tid := range list {
		if _, ok := h.stopped[tid]; ok {
			continue
		}
		if len(h.stopped)+len(h.awaited) >= maxHeld {
			return false, errTooMany
		}
		switch err := h.seize(tid); {
		case errors.Is(err, unix.ESRCH): // it has ended
		case err != nil:
			return false, err
		default:
			more = true
		}
	}
	return more, nil
}

// tasks lists the threads of a process.
func tasks(pid int) (list []int, err error) {
	d, err := os.Open("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		tid, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("list the threads of a process: %w", err)
		}
		list = append(list, tid)
	}
	return list, nil
}

// seize makes a thread stop; await waits for that.
func (h *held) seize(tid int) error {
	h.tracer.mu.Lock()
	if h.tracer.heard == nil {
		h.tracer.heard = map[int]chan<- stop{}
	}
	h.tracer.heard[tid] = h.heard
	h.tracer.mu.Unlock()
	h.awaited[tid] = true
	err := os.NewSyscallError("ptrace PTRACE_SEIZE", unix.PtraceSeize(tid))
	if err == nil {
		err = os.NewSyscallError("ptrace PTRACE_INTERRUPT", unix.PtraceInterrupt(tid))
	}
	if err != nil {
		h.forget(tid)
	}
	return err
}

func (h *held) forget(tid int) {
	h.tracer.mu.Lock()
	defer h.tracer.mu.Unlock()
	delete(h.tracer.heard, tid)
	delete(h.awaited, tid)
}

// await waits until all have stopped that were seized, or have ended.
func (h *held) await() error {
	for len(h.awaited) > 0 {
		select {
		case s := <-h.heard:
			if h.awaited[s.tid] && s.ws.Stopped() {
				h.stopped[s.tid] = s
			}
			delete(h.awaited, s.tid)
		case <-h.limit:
			return errNotStopped
		}
	}
	return nil
}

// signal returns the signal that a thread has stopped for, and is to get; 0: none.
func (h *held) signal(s stop) unix.Signal {
	if int(s.ws)>>16 != 0 {
		return 0
	}
	return s.ws.StopSignal()
}

// release lets the threads go on.
func (h *held) release() (err error) {
	for tid, s := range h.stopped {
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(h.signal(s)), 0, 0)
		if errno != 0 && errno != unix.ESRCH { // it was killed
			err = errors.Join(err, os.NewSyscallError("ptrace PTRACE_DETACH", errno))
		}
	}
	h.tracer.mu.Lock()
	defer h.tracer.mu.Unlock()
	clear(h.tracer.heard) // nobody else has a turn
	return err
}
