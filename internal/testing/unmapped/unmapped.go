// Package unmapped runs tests in user namespaces that lack ids of users and groups
// (user_namespaces(7)).
package unmapped

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// inside is an environment variable that is set in a process in a namespace.
const inside = "MAMMA_TEST_UNMAPPED"

// UID is the user id of everybody in the namespace.
const UID = 65534

// Run runs f in a process of its own, in a namespace in which every user has the id UID. The process runs t again, so
// t must be a test and not a subtest. The test is skipped if the kernel permits no user
// namespaces.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(inside) != "" {
		if uid := os.Geteuid(); uid != UID {
			t.Fatalf("user %d, not %d", uid, UID)
		}
		f(t)
		return
	}
	again(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER})
}

// MovedID is the id of users and groups without one, where Moved runs a test.
const MovedID = 65533

// Moved is Run for a namespace in which only root has ids, and others seem to have MovedID:
// root of a host can choose it. The kernel's files that tell it are covered by others.
func Moved(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(inside) == "" {
		one := []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		group := []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		again(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: one, GidMappings: group})
		return
	}
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, []byte(strconv.Itoa(MovedID)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/proc/sys/kernel/overflowuid", "/proc/sys/kernel/overflowgid"} {
		if err := syscall.Mount(file, path, "", syscall.MS_BIND, ""); err != nil {
			required.Lacking(t, "needs to mount: %v", err)
		}
	}
	f(t)
}

// again runs a test once more, in a process with namespaces of its own.
func again(t *testing.T, attr *syscall.SysProcAttr) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		required.Lacking(t, "needs user namespaces: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
