// Package pidreuse gives a process the id of one that is gone. The kernel does so once all
// ids were used.
package pidreuse

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
)

// tries is how often the id is asked for. Others start processes at the same time.
const tries = 200

// ErrTaken means that others were faster each time.
var ErrTaken = errors.New("another process has the id")

// Start starts a program that runs until its input ends, such as cat, with a process id that is
// free. end ends it, and may be called twice. An error that is not ErrTaken means that the
// kernel does not let this process choose (CAP_CHECKPOINT_RESTORE).
func Start(pid int, program string) (end func(), err error) {
	for range tries {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return nil, err
		}
		cmd := exec.Command(program)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		end := sync.OnceFunc(func() {
			_ = in.Close()
			_ = cmd.Wait()
		})
		if cmd.Process.Pid == pid {
			return end, nil
		}
		end()
	}
	return nil, fmt.Errorf("%w %d", ErrTaken, pid)
}
