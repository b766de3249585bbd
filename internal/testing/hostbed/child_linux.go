package hostbed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// childEnv is the environment variable with the task of a process that Child has
// started.
const childEnv = "MAMMA_HOSTBED"

// Task returns the task that Child has started this process for, and whether it has.
// TestMain must call Task before anything else.
func Task() (string, bool) { return os.LookupEnv(childEnv) }

// Child starts this program again for a task, in an empty network namespace of its own,
// and returns what the child wrote to standard output. The process must be allowed to
// make namespaces (testbed.Enter). The child is killed if this process ends, or after
// limit.
func Child(task string, limit time.Duration) ([]byte, error) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), childEnv+"="+task)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	timer := time.AfterFunc(limit, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})
	defer timer.Stop()
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL) {
		err = fmt.Errorf("%w: starting a process in a network namespace (needs CAP_SYS_ADMIN or an unprivileged user namespace, and CONFIG_NET_NS): %w", testbed.ErrUnavailable, err)
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.Bytes(), err
}
