package placement

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// Exit statuses of a program that could not be started, as those of env(1).
const (
	StatusFailed      = 125 // the command itself failed
	StatusNotExecuted = 126 // the program exists and cannot be executed
	StatusNotFound    = 127
)

// The names under which the program that calls Run starts itself again; see
// Dispatch.
const (
	superviseName = "run-supervisor"
	childName     = "run-child"
	probeName     = "run-nothing"
)

// Dispatch does the work of the processes that Run starts. A program that calls Run calls
// it first, with its arguments without the name; if it is handled, the program ends with
// the status.
func Dispatch(self Program, args []string) (status int, handled bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[0] {
	case superviseName:
		return supervise(self, args[1:]), true
	case childName:
		return becomeProgram(args[1:]), true
	case probeName:
		return 0, true
	}
	return 0, false
}

// A StartError says that the program was not started. Status is what a shell
// would want to know.
type StartError struct {
	Status int
	Err    error
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// Run runs the program and returns its exit status when it has ended. Its descendants
// may go on, and their connections are placed as long as they live. If a signal has
// ended the program, that signal also ends this process, so that its parent sees the
// same end. All of this process's descriptors except standard error are passed to
// the program. They are closed here, and standard input and output are connected to
// nothing.
func Run(self Program, o Options, program []string, stderr io.Writer) (status int, err error) {
	path, err := exec.LookPath(program[0])
	if err != nil {
		status := StatusNotExecuted
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			status = StatusNotFound
		}
		return 0, &StartError{status, fmt.Errorf("%s: %w", program[0], errors.Unwrap(err))}
	}
	if nested, err := joinOuter(o); err != nil {
		return 0, &StartError{StatusFailed, err}
	} else if nested {
		if o.Require {
			// The outer run counts filters, which belong to the thread that executes the program.
			runtime.LockOSThread()
			if err := notify.Mark(); err != nil {
				return 0, &StartError{StatusFailed, fmt.Errorf("what is required cannot be ensured: %w", err)}
			}
		}
		err := unix.Exec(path, program, os.Environ())
		return 0, &StartError{StatusNotExecuted, fmt.Errorf("%s: %w", path, err)}
	}

	theirs := openDescriptors()
	f := &front{signals: make(chan os.Signal, 64), terminal: terminal()}
	// This comes before the program starts, so that no signal is lost or ends the front
	// alone. Signals that stop a job are left to the program: if the program stops, so
	// does the front.
	signal.Notify(f.signals)
	if f.channel, err = startSupervisor(self); err != nil {
		return 0, &StartError{StatusFailed, err}
	}
	leaveOpen(theirs)
	if err := f.channel.enc.Encode(plan{Options: o, Path: path, Args: program, Group: unix.Getpgrp()}); err != nil {
		return 0, &StartError{StatusFailed, fmt.Errorf("tell the supervisor: %w", err)}
	}
	return f.wait(stderr)
}

// front waits for the program and passes signals on.
type front struct {
	channel  *channel
	signals  chan os.Signal
	terminal int // descriptor of the controlling terminal, -1 without one
}

func terminal() int {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return -1
	}
	return fd
}

func (f *front) wait(stderr io.Writer) (int, error) {
	told := make(chan news)
	go func() {
		defer close(told)
		for {
			var n news
			if f.channel.dec.Decode(&n) != nil {
				return
			}
			told <- n
		}
	}()
	for {
		select {
		case s := <-f.signals:
			if sig := s.(syscall.Signal); f.passOn(sig) {
				_ = f.channel.enc.Encode(order{sig}) // an error is ignored: the program may just have ended
			}
		case n, ok := <-told:
			switch {
			case !ok:
				_, _ = fmt.Fprintln(stderr, "mammactl run: the supervisor was killed; what the program connects from now on fails with ENOSYS")
				return StatusFailed, nil
			case n.Failed != "":
				return 0, &StartError{n.Status, errors.New(n.Failed)}
			case n.Stopped != 0:
				// The shell sees that the job has stopped. It will later continue both
				// processes.
				_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
			case n.Exited != nil:
				return *n.Exited, nil
			case n.Killed != 0:
				return endBy(n.Killed), nil
			}
		}
	}
}

// passOn tells whether to pass a signal on to the program.
func (f *front) passOn(s syscall.Signal) bool {
	switch s {
	case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE, unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		// These signals are about the front itself, or the program gets them as a
		// member of the job.
		return false
	case unix.SIGINT, unix.SIGQUIT:
		// The terminal sends these signals to the whole foreground job, including the
		// program. If the job is not in the foreground, another process has sent the
		// signal to the front alone.
		if f.terminal >= 0 {
			group, err := unix.IoctlGetInt(f.terminal, unix.TIOCGPGRP)
			return err != nil || group != unix.Getpgrp()
		}
	}
	return true
}

// endPatience bounds the wait for a signal to end this process. An ignored signal does
// not end it.
const endPatience = time.Second

// endBy ends this process by the signal that has ended the program. If that does not
// work, it returns the status that a shell reports for the signal.
func endBy(s syscall.Signal) int {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // one core dump is enough
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)     // for programs that get dumps, too (core(5))
	// After signal.Reset, Go's runtime would print the stacks of this process for SIGSEGV
	// and its like.
	var byDefault [8]uint64 // a struct sigaction of the kernel, and more
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	_ = unix.Kill(unix.Getpid(), s)
	// The signal may reach another thread first.
	time.Sleep(endPatience)
	return 128 + int(s)
}
