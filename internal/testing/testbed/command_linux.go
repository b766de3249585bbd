package testbed

import (
	"os/exec"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts cmd in the namespace. The command is killed when the Bed is
// closed or this process ends; the caller waits for it as usual.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// The signal comes when the thread ends that started the command, so it
	// must be the keeper.
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

// commands are those of a namespace that may still run. They are known by
// descriptors of their own, as the caller waits for them.
type commands struct {
	mu  sync.Mutex
	fds []int // see pidfd_open(2)
}

// add adds a command that was just started, and drops those that have ended.
func (c *commands) add(cmd *exec.Cmd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fds = slices.DeleteFunc(c.fds, func(fd int) bool { return awaitEnd(fd, 0) })
	// Where there is no descriptor the signal of the keeper's end has to do.
	_ = cmd.Process.WithHandle(func(handle uintptr) {
		if fd, err := unix.FcntlInt(handle, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			c.fds = append(c.fds, fd)
		}
	})
}

// end kills the commands and returns when they are gone: none changes a file
// any more then.
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

// awaitEnd waits for the end of a command for so many milliseconds, without a
// limit if negative. If it has ended, fd is closed.
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
