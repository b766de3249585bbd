package hook

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

func TestMissingRights(t *testing.T) {
	for _, tt := range []struct {
		effective uint64
		want      string
	}{
		{0, "all are missing"},
		{1 << unix.CAP_NET_ADMIN, "CAP_BPF and CAP_PERFMON are missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_NET_ADMIN, "CAP_PERFMON is missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON, "CAP_NET_ADMIN is missing"},
		{1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN, "CAP_BPF is missing"},
		{1 << unix.CAP_SYS_ADMIN, "CAP_NET_ADMIN is missing"},
		{1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN, ""},
		{1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN, ""},
	} {
		if got := missingRights(tt.effective); got != tt.want {
			t.Errorf("%x: %q, want %q", tt.effective, got, tt.want)
		}
	}
}

// errLibrary is what the eBPF library says of a refusal, whatever the reason.
var errLibrary = fmt.Errorf("map create: %w (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", unix.EPERM)

// The message names what is missing. It is never the limit of locked memory, which does not count
// in kernels that scopes run on.
func TestRefusal(t *testing.T) {
	const all = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_NET_ADMIN
	verifier := &ebpf.VerifierError{Cause: unix.EPERM, Log: []string{"attach_btf_id 7 is not permitted"}}
	for _, tt := range []struct {
		name string
		err  error
		host host
		want error
		says string
	}{
		{"a capability", errLibrary, host{known: true, effective: all &^ (1 << unix.CAP_BPF), filtered: true}, ErrRights, "CAP_BPF is missing: operation not permitted"},
		{"a capability, for a helper", unix.EINVAL, host{known: true, effective: all &^ (1 << unix.CAP_PERFMON)}, ErrRights, "CAP_PERFMON is missing: invalid argument"},
		{"unknown capabilities", errLibrary, host{}, ErrRights, "are needed: operation not permitted"},
		{"user namespace", errLibrary, host{known: true, effective: all, contained: true, filtered: true}, ErrRights, "only in a user namespace"},
		{"filter", errLibrary, host{known: true, effective: all, filtered: true}, ErrRights, "SystemCallFilter=bpf"},
		{"old kernel", errLibrary, host{known: true, effective: all, old: "5.10.0-28-amd64"}, ErrUnsupported, "which is Linux 5.10.0-28-amd64, and 5.14 is needed: operation not permitted"},
		{"lockdown", errLibrary, host{known: true, effective: all, lockdown: "confidentiality"}, ErrRights, "locked down (confidentiality)"},
		{"module", unix.EACCES, host{known: true, effective: all, modules: []string{"selinux", "bpf"}}, ErrRights, "a security module may forbid it (selinux, bpf): permission denied"},
		{"several", errLibrary, host{known: true, effective: all, filtered: true, lockdown: "integrity", modules: []string{"bpf"}}, ErrRights, "this one); the kernel is locked down (integrity); a security module"},
		{"nothing known", errLibrary, host{known: true, effective: all}, ErrRights, "something forbids it"},
		{"the verifier's words", verifier, host{known: true, effective: all}, ErrRights, "attach_btf_id 7 is not permitted"},
		{"the verifier", &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"R0 !read_ok"}}, host{known: true, effective: all}, ErrUnsupported, "R0 !read_ok"},
		{"no helper", unix.EINVAL, host{known: true, effective: all, filtered: true, modules: []string{"bpf"}}, ErrUnsupported, ErrUnsupported.Error() + ": invalid argument"},
	} {
		err := refusal("map", tt.err, tt.host)
		if !errors.Is(err, tt.want) || errors.Is(err, ErrRights) == errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
		if strings.Contains(err.Error(), "MEMLOCK") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if denied := errors.Is(tt.err, unix.EPERM); denied && !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v does not wrap EPERM", tt.name, err)
		}
	}
}

func TestRefusalOfHost(t *testing.T) {
	for text, want := range map[string]string{
		"none [integrity] confidentiality": "integrity", "none integrity [confidentiality]\n": "confidentiality", "[none] integrity confidentiality": "", "": "", "[": "", "none": "",
	} {
		if got := lockedDown(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"lockdown,capability,selinux,bpf\n": "selinux bpf", "capability,yama,apparmor": "", "": ""} {
		if got := strings.Join(refusing(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for release, want := range map[string]bool{"4.19.0-27-amd64": true, "5.13.19": true, "5.14.0": false, "6.1.0-9": false, "10.0": false, "": false} {
		if got := tooOld(release); got != "" != want || want && got != release {
			t.Errorf("%q: %q", release, got)
		}
	}
}

// The kernel itself refuses what a thread without capabilities wants, and the message says why.
func TestLoadWithoutRights(t *testing.T) {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := lower(unix.RawSyscall)
		if err != nil {
			result <- fmt.Errorf("give capabilities up: %w", err)
			return
		}
		effective, _ := capabilities()
		if effective&(1<<unix.CAP_SYS_ADMIN) != 0 { // includes the others
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
				result <- fmt.Errorf("give capabilities up: %w", err)
				return
			}
		}
		table, err := Load()
		if err == nil {
			table.Close()
		}
		result <- err
	}()
	err := <-result
	if !errors.Is(err, ErrRights) || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "missing") || strings.Contains(err.Error(), "MEMLOCK") {
		t.Error(err)
	}
}
