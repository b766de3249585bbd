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

// ErrUnavailable is wrapped by errors that say that this host, or this user on
// it, cannot make the namespaces or devices that a test bed needs.
var ErrUnavailable = errors.New("no test bed possible here")

// enteredEnv marks a process that Enter started, so that it does not try again.
const enteredEnv = "MAMMA_TESTBED_ENTERED"

// Enter makes sure that this process may make network namespaces. If it may
// not, Enter starts the same program with the same arguments in a user
// namespace of its own, in which it is root, waits for it, and exits with its
// status: it does not return then. It must be called before the program does
// anything else, first thing in main or TestMain. Signals are passed on; the
// child is killed if this process is.
//
// The child sees itself as user 0 and starts in an empty network namespace in
// which only loopback is up. A multi-threaded process cannot enter a user
// namespace (user_namespaces(7)), hence the second process.
//
// The network is out of reach then. What needs it is done before: before, if given,
// is called first, and only where Enter starts the program again.
//
// Programs that are started take no bus for the system's, unless the environment names one.
//
// The error wraps ErrUnavailable; callers may ignore it, since New gives the
// same one.
func Enter(before ...func()) error {
	// What services tell on the host's own bus is not about these networks.
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

// busEnv says where the system bus is (D-Bus specification, "Well-known Message Bus
// Instances").
const busEnv = "DBUS_SYSTEM_BUS_ADDRESS"

// probe tells whether a namespace can be made.
func probe() error {
	n, err := newNamespace("probe")
	if err != nil {
		return err
	}
	n.close()
	return nil
}

func startEntered() (*exec.Cmd, error) {
	// The parent death signal is bound to the thread that starts the child.
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

// waitEntered waits for the child and gives the status to exit with.
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
