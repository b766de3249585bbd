package hook

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// host is what can keep this process from loading and attaching programs.
type host struct {
	effective uint64 // capabilities of this thread, one bit each
	known     bool   // whether effective is known
	// contained tells that this process is in a user namespace, where it may have capabilities
	// that mean nothing to the kernel as a whole.
	contained bool
	filtered  bool     // there is a filter of system calls (seccomp)
	old       string   // the kernel's release if it is older than Linux 5.14, which scopes need; else ""
	lockdown  string   // "integrity" or "confidentiality"; "": the kernel is not locked down, or that is not known
	modules   []string // security modules that can refuse the system call bpf
}

// initialUser is the inode of the first user namespace (PROC_USER_INIT_INO, linux/nsfs.h).
const initialUser = 0xEFFFFFFD

// thisHost looks at this thread and its kernel.
func thisHost() host {
	var h host
	h.effective, h.known = capabilities()
	var ns unix.Stat_t
	h.contained = unix.Stat("/proc/thread-self/ns/user", &ns) == nil && ns.Ino != initialUser
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	h.filtered = err == nil && mode == 2 // SECCOMP_MODE_FILTER
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		h.old = tooOld(unix.ByteSliceToString(name.Release[:]))
	}
	// Both are missing where securityfs is not mounted.
	if text, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil {
		h.lockdown = lockedDown(string(text))
	}
	if text, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil {
		h.modules = refusing(string(text))
	}
	return h
}

// tooOld returns a kernel's release if it is older than Linux 5.14. Among other things, kernels
// before 5.11 refuse maps beyond the limit of locked memory.
func tooOld(release string) string {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err == nil && (major < 5 || major == 5 && minor < 14) {
		return release
	}
	return ""
}

// lockedDown finds the chosen word in text such as "none [integrity] confidentiality".
func lockedDown(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	if word, _, ok := strings.Cut(rest, "]"); ok && word != "none" {
		return word
	}
	return ""
}

// refusing picks, from a list such as "lockdown,capability,selinux", the modules that look at the
// system call bpf.
func refusing(text string) []string {
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(text), ","), func(m string) bool { return m != "selinux" && m != "bpf" })
}

// lacking makes the error about something that the kernel has refused.
func lacking(what string, err error) error { return refusal(what, err, thisHost()) }

// refusal says what is missing. The error wraps ErrRights or ErrUnsupported.
func refusal(what string, err error, h host) error {
	denied := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) && !isVerifier(err)
	if errno := unix.Errno(0); denied && !isVerifier(err) && errors.As(err, &errno) {
		err = errno // without what the library adds: that RLIMIT_MEMLOCK may be too low, whatever the reason
	}
	// Without CAP_PERFMON the verifier says that the kernel lacks a helper.
	if missing := missingRights(h.effective); h.known && missing != "" {
		return fmt.Errorf("%s: %w, %s: %w", what, ErrRights, missing, err)
	}
	switch {
	case denied && !h.known:
		return fmt.Errorf("%s: %w: %w", what, ErrRights, err)
	case denied && h.old != "":
		return fmt.Errorf("%s: %w, which is Linux %s, and 5.14 is needed: %w", what, ErrUnsupported, h.old, err)
	case denied:
		return fmt.Errorf("%s: %w, and all are there, but %s: %w", what, ErrRights, h.reasons(), err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrUnsupported, err)
}

// reasons says what may have refused something for which all capabilities are there.
func (h *host) reasons() string {
	if h.contained { // this alone suffices
		return "only in a user namespace, and they are needed outside of all (in a container, give them to the container as a whole)"
	}
	var list []string
	if h.filtered {
		list = append(list, "there is a filter of system calls (SystemCallFilter=bpf of systemd permits this one)")
	}
	if h.lockdown != "" {
		list = append(list, "the kernel is locked down ("+h.lockdown+")")
	}
	if len(h.modules) > 0 {
		list = append(list, "a security module may forbid it ("+strings.Join(h.modules, ", ")+")")
	}
	if len(list) == 0 {
		return "something forbids it: a security module, or what runs this host as a guest"
	}
	return strings.Join(list, "; ")
}

// capabilities returns the effective capabilities of this thread, one bit each.
func capabilities() (effective uint64, known bool) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return 0, false
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, true
}

// missingRights says which of the needed capabilities are missing; "" if none is.
// CAP_SYS_ADMIN holds what CAP_BPF and CAP_PERFMON give (capabilities(7)).
func missingRights(effective uint64) string {
	var missing []string
	for _, c := range []struct {
		name string
		bits uint64
	}{
		{"CAP_BPF", 1<<unix.CAP_BPF | 1<<unix.CAP_SYS_ADMIN},
		{"CAP_PERFMON", 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_ADMIN},
		{"CAP_NET_ADMIN", 1 << unix.CAP_NET_ADMIN},
	} {
		if effective&c.bits == 0 {
			missing = append(missing, c.name)
		}
	}
	switch len(missing) {
	case 0:
		return ""
	case 1:
		return missing[0] + " is missing"
	case 2:
		return strings.Join(missing, " and ") + " are missing"
	}
	return "all are missing"
}

func isVerifier(err error) bool {
	var v *ebpf.VerifierError
	return errors.As(err, &v)
}
