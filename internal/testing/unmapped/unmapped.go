// Package unmapped runs tests in a user namespace without user ids, where every user
// has the id 65534 (user_namespaces(7)).
package unmapped

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// inside is an environment variable that is set in the process in the namespace.
const inside = "MAMMA_TEST_UNMAPPED"

// UID is the user id of everybody in the namespace.
const UID = 65534

// Run runs f in a process of its own in such a namespace. The process runs t again, so
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
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		required.Lacking(t, "needs user namespaces: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
