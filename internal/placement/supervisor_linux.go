package placement

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// supervisor starts the program, answers the calls of the program and its descendants,
// and reaps them.
type supervisor struct {
	channel *channel
	plan    plan
	self    string
	say     *speaker
	placer  *placer
	program int // process id of the program
	pidfd   int // the same process, so that a signal cannot go to a later one
}

// supervise is the main function of the process that Run starts. Its argument is the
// descriptor of the channel to the front.
func supervise(self Program, args []string) int {
	// The kernel calls this process "exe", because it was started as /proc/self/exe. It
	// gets its proper name, which mamma and ps show. Without /proc the name stays.
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
	theirs := openDescriptors()
	f, err := inherited(args[0])
	if err != nil {
		return StatusFailed
	}
	theirs = slices.DeleteFunc(theirs, func(fd int) bool { return fd == int(f.Fd()) })
	// No signal that is meant for the program, or comes from its terminal, may end this
	// process: without it, the program's connects would fail. The signals get a handler
	// and are not ignored, because the program would inherit that.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored)
	s := &supervisor{channel: newChannel(f), self: os.Args[0], say: &speaker{}}
	if err := s.channel.enc.Encode(greeting{self.Version}); err != nil {
		return StatusFailed // the front is gone
	}
	if err := s.channel.dec.Decode(&s.plan); err != nil {
		return StatusFailed // it wants another supervisor, or is gone
	}
	if err := s.start(theirs); err != nil {
		status := StatusFailed
		if e := (*StartError)(nil); errors.As(err, &e) {
			status = e.Status
		}
		_ = s.channel.enc.Encode(news{Failed: err.Error(), Status: status})
		return StatusFailed
	}
	go s.obey()
	s.reap()
	s.placer.end()
	return 0
}

// openDescriptors lists the descriptors that this process was started with, without the
// standard ones.
func openDescriptors() (list []int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		// Descriptors of the Go runtime are closed on execution, and are left out.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			list = append(list, fd)
		}
	}
	return list
}

// start starts the program, placed if that is possible. theirs are the descriptors that
// belong to the program.
func (s *supervisor) start(theirs []int) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("adopt descendants: %w", os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err))
	}
	p, err := newPlacer(s.plan.Options, s.say)
	if err != nil {
		return err
	}
	s.placer = p
	outer, err := p.listenForInner()
	if err != nil {
		return err
	}
	if s.plan.Options.Require {
		if err := s.checkRequired(theirs); err != nil {
			return err
		}
	}
	child, err := s.startChild([]string{outer})
	if err != nil {
		return err
	}
	leaveOpen(theirs)

	listener, why := child.listener(s.program)
	switch {
	case why == nil:
		p.serve(listener)
	case s.plan.Options.Require:
		return fmt.Errorf("connections cannot be placed: %w", why)
	default:
		s.say.once("run", "connections are not placed: %v", why)
	}
	return child.proceed()
}

// checkRequired checks that what is required can be held of the descriptors that the
// program begins with.
func (s *supervisor) checkRequired(theirs []int) error {
	who := caller{pid: os.Getpid(), uid: uint32(os.Getuid()), command: filepath.Base(s.plan.Path)}
	for _, fd := range append([]int{0, 1, 2}, theirs...) {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			continue // it is closed
		}
		if err := s.placer.checkHanded(&reached{p: s.placer, who: who, options: s.placer.options, socket: socket{fd: own}}); err != nil {
			return fmt.Errorf("what is required cannot be ensured for descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// leaveOpen closes this process's copies of the program's descriptors. Otherwise the
// reader of a pipe would not see its end when the program closes it.
func leaveOpen(theirs []int) {
	for _, fd := range theirs {
		_ = unix.Close(fd)
	}
	silence(0, 1)
}

// silence points descriptors to /dev/null, so that the reader of a pipe does not wait
// for this process.
func silence(fds ...int) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer func() { _ = null.Close() }()
	for _, fd := range fds {
		_ = unix.Dup3(int(null.Fd()), fd, 0)
	}
}

// calls returns the system calls to give up.
func (o *Options) calls() notify.Calls {
	return notify.Calls{Connect: true, Messages: !o.NoMessages, Streams: o.MPTCP, NoIOURing: !o.AllowIOURing, Others: true}
}

// child is the process that becomes the program, with the pipes to it.
type child struct {
	hear *bufio.Reader
	tell *os.File
}

// startChild starts the process that becomes the program. environment is added to
// the program's.
func (s *supervisor) startChild(environment []string) (*child, error) {
	var toChild, fromChild [2]int
	if err := errors.Join(syscall.Pipe2(toChild[:], 0), syscall.Pipe2(fromChild[:], 0)); err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	syscall.CloseOnExec(toChild[1])
	syscall.CloseOnExec(fromChild[0])
	args := append([]string{s.self, childName, strconv.Itoa(toChild[0]), strconv.Itoa(fromChild[1]), formatCalls(s.plan.Options.calls()), s.plan.Path}, s.plan.Args...)
	p, err := os.StartProcess("/proc/self/exe", args, &os.ProcAttr{
		Env: append(os.Environ(), environment...), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pgid: s.plan.Group},
	})
	_ = unix.Close(toChild[0])
	_ = unix.Close(fromChild[1])
	if err != nil {
		return nil, fmt.Errorf("start the program: %w", err)
	}
	s.program = p.Pid
	_ = p.Release() // reap waits for the process
	if s.pidfd, err = unix.PidfdOpen(s.program, 0); err != nil {
		return nil, fmt.Errorf("start the program: %w", os.NewSyscallError("pidfd_open", err))
	}
	return &child{bufio.NewReader(os.NewFile(uintptr(fromChild[0]), "from child")), os.NewFile(uintptr(toChild[1]), "to child")}, nil
}

// listener takes a copy of the child's listener. If there is none, the error says why.
func (c *child) listener(pid int) (*notify.Listener, error) {
	line, err := c.hear.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the new process ended: %w", err)
	}
	line = strings.TrimSuffix(line, "\n")
	if why, ok := strings.CutPrefix(line, saysNone); ok {
		return nil, errors.New(why)
	}
	number, _ := strings.CutPrefix(line, saysListener)
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("the new process says %q", line)
	}
	fd, err := copyDescriptor(pid, n)
	if err != nil {
		return nil, fmt.Errorf("take the listener: %w", err)
	}
	l, err := notify.NewListener(fd)
	if err != nil {
		_ = unix.Close(fd)
	}
	return l, err
}

// copyDescriptor copies a descriptor of a process.
func copyDescriptor(pid, fd int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	n, err := unix.PidfdGetfd(pidfd, fd, 0)
	return n, os.NewSyscallError("pidfd_getfd", err)
}

// proceed makes the child become the program. If it could not, the error says why.
func (c *child) proceed() error {
	_, err := io.WriteString(c.tell, "go")
	_ = c.tell.Close()
	if err != nil {
		return fmt.Errorf("start the program: %w", err)
	}
	line, _ := c.hear.ReadString('\n') // ends when the program is executed
	if text, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), saysExec); ok {
		number, why, _ := strings.Cut(text, " ")
		status, _ := strconv.Atoi(number)
		return &StartError{status, errors.New(why)}
	}
	return nil
}

// obey passes the front's signals on to the program.
func (s *supervisor) obey() {
	for {
		var o order
		if s.channel.dec.Decode(&o) != nil {
			return
		}
		_ = unix.PidfdSendSignal(s.pidfd, o.Signal, nil, 0) // an error is ignored: the program may have ended
	}
}

// byJobControl tells whether a signal stops processes (signal(7)).
func byJobControl(s syscall.Signal) bool {
	return s == syscall.SIGSTOP || s == syscall.SIGTSTP || s == syscall.SIGTTIN || s == syscall.SIGTTOU
}

// reap waits for the program and tells the front how it ends. It returns when the last
// descendant is gone.
func (s *supervisor) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return // after ECHILD: none is left
		case s.placer.tracer.saw(pid, ws):
			continue
		case pid != s.program:
			continue
		}
		switch {
		case ws.Stopped():
			if byJobControl(ws.StopSignal()) { // else it has stopped for its tracer, which is gone meanwhile
				_ = s.channel.enc.Encode(news{Stopped: ws.StopSignal()})
			}
			continue
		case ws.Exited():
			status := ws.ExitStatus()
			_ = s.channel.enc.Encode(news{Exited: &status})
		case ws.Signaled():
			_ = s.channel.enc.Encode(news{Killed: ws.Signal()})
		}
		// The remaining descendants run in the background. This process prints nothing
		// any more and gives standard error up, so that a reader of the program's
		// output sees the end.
		_ = s.channel.file.Close()
		s.say.end()
		silence(2)
	}
}
