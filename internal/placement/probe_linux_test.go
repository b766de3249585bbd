package placement

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

func TestMain(m *testing.M) {
	if status, handled := Dispatch(os.Args[1:]); handled {
		os.Exit(status)
	}
	if os.Args[0] == busyName {
		os.Exit(beBusy())
	}
	os.Exit(m.Run())
}

func TestProbe(t *testing.T) {
	if o := Probe(os.Args[0]); o != nil {
		t.Skipf("needs seccomp user notification: %v (%s)", o.Err, o.Remedy)
	}
}

func TestRemedy(t *testing.T) {
	eperm := fmt.Errorf("take the listener: %w", os.NewSyscallError("pidfd_getfd", unix.EPERM))
	for _, tt := range []struct {
		name          string
		err           error
		yama, seccomp string
		want          string // part of it; "": none
	}{
		{"Yama", eperm, "2", "0", "kernel.yama.ptrace_scope is 2"},
		{"Yama, for good", eperm, "3", "0", "only a restart"},
		{"a container", eperm, "1", "2", "docker run --security-opt"},
		{"a container refuses the filter", errors.New("seccomp: operation not permitted"), "", "2", "docker run --security-opt"},
		{"another listener", errors.New(notify.ErrBusy.Error() + ": seccomp: device or resource busy"), "", "2", "run it outside"},
		{"an old kernel", errors.New(notify.ErrUnsupported.Error() + ": seccomp: invalid argument"), "", "0", "5.9 or later"},
		{"something else", errors.New("no memory"), "1", "0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := remedy(tt.err, tt.yama, tt.seccomp); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
