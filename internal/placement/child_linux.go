package placement

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// Words that the child writes to a pipe, each at the beginning of a line. First it
// writes the number of its listener, or why it has none. If it then fails to become the
// program, it writes why. When it succeeds, the pipe closes.
const (
	saysListener = "listener "
	saysNone     = "none "
	saysExec     = "exec "
)

// becomeProgram is the child: it installs the filter and executes the program.
// Its arguments are the descriptors of two pipes, the calls that are placed, and
// the program with its arguments.
func becomeProgram(args []string) int {
	// The filter belongs to the thread that installs it.
	runtime.LockOSThread()
	hear, err1 := inherited(args[0])
	tell, err2 := inherited(args[1])
	calls, err3 := parseCalls(args[2])
	if err := errors.Join(err1, err2, err3); err != nil || len(args) < 5 {
		return StatusFailed
	}
	path, argv := args[3], args[4:]
	if calls != (notify.Calls{}) {
		if fd, err := notify.Install(calls); err != nil {
			_, _ = fmt.Fprintf(tell, "%s%v\n", saysNone, err)
		} else {
			_, _ = fmt.Fprintf(tell, "%s%d\n", saysListener, fd)
		}
	}
	// The child waits until the supervisor has a copy of the listener, so that no
	// connect comes earlier.
	if b, err := io.ReadAll(hear); err != nil || string(b) != "go" {
		return StatusFailed
	}
	err := unix.Exec(path, argv, os.Environ())
	_, _ = fmt.Fprintf(tell, "%s%d %v\n", saysExec, execStatus(err), err)
	return execStatus(err)
}

func execStatus(err error) int {
	if errors.Is(err, unix.ENOENT) {
		return StatusNotFound
	}
	return StatusNotExecuted
}

// inherited opens a descriptor that was handed over by its number. It is closed
// when the process executes another program.
func inherited(number string) (*os.File, error) {
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 0 {
		return nil, fmt.Errorf("%q is not a descriptor", number)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "inherited"), nil
}

// Each letter stands for one kind of calls on the child's command line.
const callLetters = "cmsro"

func formatCalls(c notify.Calls) string {
	var b strings.Builder
	for i, on := range []bool{c.Connect, c.Messages, c.Streams, c.NoIOURing, c.Others} {
		if on {
			b.WriteByte(callLetters[i])
		}
	}
	return b.String()
}

func parseCalls(text string) (c notify.Calls, err error) {
	for _, r := range text {
		switch r {
		case 'c':
			c.Connect = true
		case 'm':
			c.Messages = true
		case 's':
			c.Streams = true
		case 'r':
			c.NoIOURing = true
		case 'o':
			c.Others = true
		default:
			return c, fmt.Errorf("unknown call %q", r)
		}
	}
	return c, nil
}
