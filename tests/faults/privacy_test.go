package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mammactl runs the tool as a user.
func mammactl(t *testing.T, d *daemon, uid, gid uint32, args ...string) (status int, out string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), append([]string{"--control", filepath.Join(d.dir, "control.sock")}, args...)...)
	if uid != 0 { // the test's own
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Skipf("needs CAP_SETUID and a second user: %v", err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// Users see their own decisions only, and only if they can reach the control
// socket at all; nothing but root and the daemon's user changes anything.
func TestDecisionsArePrivate(t *testing.T) {
	dir := newDir(t)
	d := start(t, options{dir: dir}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	suggestion(t, d.socket, toLoopback) // root's
	for range 2 {
		if got := startRole(t, userA, userA, "ask", d.socket).line(t); got != "127.0.0.1" {
			t.Fatalf("told %q", got)
		}
	}
	lines := func(out string) int { return strings.Count(out, "127.0.0.1:9 ") }

	if status, out := mammactl(t, d, 0, 0, "decisions"); status != 0 || lines(out) != 3 {
		t.Errorf("root: status %d, want all three decisions:\n%s", status, out)
	}
	for _, command := range []string{"decisions", "prefixes", "reload"} {
		if status, out := mammactl(t, d, userA, userA, command); status == 0 || lines(out) > 0 {
			t.Errorf("%s by a user without access: status %d\n%s", command, status, out)
		}
	}
	// The operator opens the socket to everybody.
	if err := os.Chmod(filepath.Join(dir, "control.sock"), 0o666); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	for _, tt := range []struct {
		user uint32
		want int
	}{{userA, 2}, {userB, 0}, {65534, 0}} {
		status, out := mammactl(t, d, tt.user, tt.user, "decisions")
		if status != 0 || lines(out) != tt.want {
			t.Errorf("user %d: status %d, want %d decisions:\n%s", tt.user, status, tt.want, out)
		}
	}
	for _, command := range [][]string{{"reload"}, {"set", "10.0.0.1"}} {
		if status, out := mammactl(t, d, userA, userA, command...); status == 0 {
			t.Errorf("%v is allowed to a user:\n%s", command, out)
		}
	}
	if strings.Contains(d.Log.String(), "msg=reloaded") {
		t.Errorf("a user made it reload:\n%s", d.Log)
	}
}
