package placement

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

func TestMain(m *testing.M) {
	if status, handled := Dispatch(Program{}, os.Args[1:]); handled {
		os.Exit(status)
	}
	switch os.Args[0] {
	case busyName:
		os.Exit(beBusy())
	case forbiddenName:
		os.Exit(probeForbidden())
	}
	os.Exit(m.Run())
}

func TestProbe(t *testing.T) {
	place, move := Probe(os.Args[0])
	if place != nil {
		t.Skipf("needs seccomp user notification: %v (%s)", place.Err, place.Remedy)
	}
	if move != nil {
		t.Skipf("needs the right to stop a child process (ptrace): %v (%s)", move.Err, move.Remedy)
	}
}

// forbiddenName is the name by which this test program runs probeForbidden.
const forbiddenName = "mamma-test-forbidden"

// probeForbidden probes where ptrace is forbidden, and prints what is in the way.
func probeForbidden() int {
	code, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4}, // struct seccomp_data begins with the number of the call
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_PTRACE, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var filter []unix.SockFilter
	for _, i := range code {
		filter = append(filter, unix.SockFilter{Code: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		return 1
	}
	// The filter is for all threads.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		fmt.Println(errno)
		return 1
	}
	place, move := Probe("self")
	for _, o := range []*Obstacle{place, move} {
		if o != nil {
			fmt.Printf("%v: %s\n", o.Err, o.Remedy)
		} else {
			fmt.Println("fine")
		}
	}
	return 0
}

// Where a process may not stop others, connections are placed all the same, but cannot be
// moved. It is said what is in the way.
func TestProbeWithoutPtrace(t *testing.T) {
	if place, _ := Probe(os.Args[0]); place != nil {
		t.Skipf("needs seccomp user notification: %v (%s)", place.Err, place.Remedy)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{forbiddenName}
	out, err := cmd.Output()
	want := "fine\nstop a process: ptrace PTRACE_SEIZE: operation not permitted: a filter of seccomp is in force, "
	if err != nil || !strings.HasPrefix(string(out), want) || !strings.Contains(string(out), "allow ptrace") {
		t.Errorf("%q, %v; want %q", out, err, want)
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
		{"a container forbids to stop processes", fmt.Errorf("%w: %w", errNotStoppable, unix.EPERM), "1", "2", "allow ptrace"},
		{"Yama forbids to stop processes", fmt.Errorf("%w: %w", errNotStoppable, unix.EPERM), "3", "0", "only a restart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := remedy(tt.err, tt.yama, tt.seccomp); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
