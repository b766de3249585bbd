package userid_test

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/internal/userid"
)

// movedOverflow marks the process in which the kernel seems to show another id for users
// without one.
const movedOverflow = "MAMMA_TEST_MOVED_OVERFLOW"

// Root of a host can choose the id that stands for users without one. The test covers the
// kernel's file with another, in a mount namespace of its own.
func TestMovedOverflow(t *testing.T) {
	const moved = 65533
	if os.Getenv(movedOverflow) != "" {
		file := t.TempDir() + "/overflowuid"
		if err := os.WriteFile(file, []byte(strconv.Itoa(moved)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(file, "/proc/sys/kernel/overflowuid", "", unix.MS_BIND, ""); err != nil {
			required.Lacking(t, "needs to mount: %v", err)
		}
		for _, uid := range []uint32{moved, unmapped.UID} {
			if userid.Known(uid) {
				t.Errorf("%d is known", uid)
			}
		}
		if !userid.Known(1000) || !userid.Trusted(0) {
			t.Error("users with ids are not known")
		}
		return
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs the program unshare: ", err)
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", "true").CombinedOutput(); err != nil {
		required.Lacking(t, "needs user namespaces: %v %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args[4] = own // not unshare
	cmd.Env = append(os.Environ(), movedOverflow+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
