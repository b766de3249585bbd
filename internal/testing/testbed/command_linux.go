package testbed

import (
	"os/exec"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts cmd in the namespace. The command is killed when the Bed is closed or
// this process ends. The caller waits for the command as usual.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The signal comes when the thread that started the command ends. So the keeper's
	// thread must start it.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	n.work <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return err
	}
	n.commands.add(cmd)
	return nil
}

// Run starts cmd in the namespace and waits for it.
func (n *Namespace) Run(cmd *exec.Cmd) error {
	if err := n.Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// commands are the commands of a namespace that may still run. The caller waits for the
// processes, so this needs descriptors of its own.
type commands struct {
	mu  sync.Mutex
	fds []int // see pidfd_open(2)
}

// add adds a command that was just started, and drops those that have ended.
func (c *commands) add(cmd *exec.Cmd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fds = slices.DeleteFunc(c.fds, func(fd int) bool { return awaitEnd(fd, 0) })
	// Without a descriptor, the signal at the keeper's end must suffice.
	_ = cmd.Process.WithHandle(func(handle uintptr) {
		if fd, err := unix.FcntlInt(handle, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			c.fds = append(c.fds, fd)
		}
	})
}

// end kills the commands and waits until they are gone. After that none of them changes
// a file.
func (c *commands) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fd := range c.fds {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended
	}
	for _, fd := range c.fds {
		awaitEnd(fd, -1)
	}
	c.fds = nil
}

// awaitEnd waits for the end of a command, for the given number of milliseconds or
// without a limit if that is negative. It tells whether the command has ended; then it
// has closed fd.
func awaitEnd(fd, milliseconds int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, milliseconds)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			return false
		}
		_ = unix.Close(fd)
		return true
	}
}
