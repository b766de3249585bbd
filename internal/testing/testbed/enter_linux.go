package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// ErrUnavailable is wrapped by errors which say that this host or this user cannot make
// the namespaces or devices of a test bed.
var ErrUnavailable = errors.New("no test bed possible here")

// enteredEnv marks a process that Enter has started, so that Enter does not try again.
const enteredEnv = "MAMMA_TESTBED_ENTERED"

// Enter makes sure that this process may make network namespaces. If it may not, Enter
// starts the same program with the same arguments in a user namespace of its own, in
// which it is root. Then Enter does not return: it waits for that child and exits with
// its status. It passes signals on, and the child is killed if this process is. Enter
// must be called before the program does anything else, first thing in main or
// TestMain.
//
// The child sees itself as user 0. It starts in an empty network namespace in which
// only loopback is up. The second process is needed because a process with several
// threads cannot enter a user namespace (user_namespaces(7)).
//
// The child cannot reach the host's network. Steps that need the network belong in the
// functions before. Enter calls these first, but only if it starts the program again.
//
// Programs that are started do not use the system's bus, unless the environment names a
// bus.
//
// The error wraps ErrUnavailable. Callers may ignore it, because New returns the same
// error.
func Enter(before ...func()) error {
	// Services on the host's own bus know nothing about the networks of the test bed.
	if os.Getenv(busEnv) == "" {
		_ = os.Setenv(busEnv, "unix:path=/nonexistent/bus")
	}
	err := probe()
	if os.Getenv(enteredEnv) != "" {
		if err == nil {
			err = loopbackUp()
		}
		return err
	}
	if err == nil || !errors.Is(err, ErrUnavailable) {
		return err
	}
	for _, f := range before {
		f()
	}
	cmd, startErr := startEntered()
	if startErr != nil {
		return fmt.Errorf("%w, nor in a user namespace: %w", err, startErr)
	}
	os.Exit(waitEntered(cmd))
	return nil
}

// busEnv is the environment variable with the address of the system bus (D-Bus
// specification, "Well-known Message Bus Instances").
const busEnv = "DBUS_SYSTEM_BUS_ADDRESS"

// probe tries to make a namespace.
func probe() error {
	n, err := newNamespace("probe")
	if err != nil {
		return err
	}
	n.close()
	return nil
}

func startEntered() (*exec.Cmd, error) {
	// The parent death signal belongs to the thread that starts the child.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), enteredEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	return cmd, cmd.Start()
}

// waitEntered waits for the child and returns the exit status for this process.
func waitEntered(cmd *exec.Cmd) int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may have ended
		case err := <-done:
			var exit *exec.ExitError
			switch {
			case err == nil:
				return 0
			case errors.As(err, &exit) && exit.Exited():
				return exit.ExitCode()
			case errors.As(err, &exit):
				if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
					return 128 + int(status.Signal()) // as shells do
				}
			}
			return 1
		}
	}
}
