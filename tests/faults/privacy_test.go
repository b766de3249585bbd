package faults

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/tests/internal/stage"
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

// startMammactl starts the tool as a user, and collects what it prints.
func startMammactl(t *testing.T, d *daemon, uid uint32, args ...string) *stage.Process {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "mammactl"), append([]string{"--control", filepath.Join(d.dir, "control.sock")}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return stage.Launch(t, nil, cmd)
}

// Users see only their own decisions, and only if they can reach the control socket at all.
// Only root and the daemon's user can change anything.
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

// If everybody can reach the control socket, a user who follows events sees nothing of
// others, and a question of "explain" appears in nobody's decisions. Members of the
// control group see everything and can change nothing.
func TestOthersAreNotSeen(t *testing.T) {
	const group = 4799
	dir := newDir(t)
	conf := "control_group = \"" + itoa(group) + "\"\n" + loopbackConf
	d := start(t, options{dir: dir}, write(t, filepath.Join(t.TempDir(), "policy.conf"), conf))
	info, err := os.Stat(filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Gid != group || info.Mode().Perm() != 0o660 {
		t.Errorf("the control socket is of group %d, mode %v", st.Gid, info.Mode())
	}
	if status, out := mammactl(t, d, userB, userB, "status"); status == 0 {
		t.Errorf("a user outside the group:\n%s", out)
	}
	if status, out := mammactl(t, d, userB, group, "status"); status != 0 {
		t.Errorf("a user of the group: status %d\n%s", status, out)
	}
	if status, out := mammactl(t, d, userB, group, "reload"); status == 0 {
		t.Errorf("a user of the group reloads:\n%s", out)
	}
	if err := os.Chmod(filepath.Join(dir, "control.sock"), 0o666); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	mine := startMammactl(t, d, userB, "decisions", "-f", "--json")
	all := startMammactl(t, d, 0, "decisions", "-f", "--json")
	asking := func(uid uint32) {
		t.Helper()
		if got := startRole(t, uid, uid, "ask", d.socket).line(t); got != "127.0.0.1" {
			t.Fatalf("told %q", got)
		}
	}
	by := func(out string, uid int) bool {
		return strings.Contains(out, `"uid":`+itoa(uid)) || strings.Contains(out, `"uid": `+itoa(uid))
	}
	stage.Until(t, "what a user asks is seen", func() bool {
		asking(userA)
		asking(userB)
		return by(mine.Out.String(), userB) && by(all.Out.String(), userA) && by(all.Out.String(), userB)
	})
	suggestion(t, d.socket, toLoopback) // root's
	asking(userA)
	asking(userB)
	n := strings.Count(mine.Out.String(), itoa(userB))
	stage.Until(t, "what comes after is seen", func() bool {
		asking(userB)
		return strings.Count(mine.Out.String(), itoa(userB)) > n
	})
	if out := mine.Out.String(); by(out, userA) || by(out, 0) {
		t.Errorf("a user sees others:\n%s", out)
	}
	_, before := mammactl(t, d, 0, 0, "decisions", "-n", "1")
	if status, out := mammactl(t, d, userA, userA, "explain", "127.0.0.1:4567"); status != 0 || strings.Contains(out, ":9") {
		t.Errorf("explain: status %d\n%s", status, out)
	}
	if _, after := mammactl(t, d, 0, 0, "decisions", "-n", "1"); after != before {
		t.Errorf("an explanation is a decision:\n%s", after)
	}
}

// A report counts for the user's own decisions, however often it is repeated.
func TestReplayedReports(t *testing.T) {
	d := start(t, options{dir: newDir(t)}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	own := connect(t, d.socket)
	id, err := own.decision(netip.AddrPortFrom(loopback, 9))
	if err != nil {
		t.Fatal(err)
	}
	outcome := func() string {
		t.Helper()
		status, out := mammactl(t, d, 0, 0, "decisions", "--json")
		_, after, found := strings.Cut(out, `"outcome":`)
		if status != 0 || !found {
			t.Fatalf("status %d\n%s", status, out)
		}
		return after
	}
	for range 3 {
		if got := startRole(t, userB, userB, "replay", d.socket, id.String()).line(t); got != "done" {
			t.Fatal(got)
		}
	}
	if got := outcome(); !strings.HasPrefix(got, "null") {
		t.Errorf("another user's report counts: %s", got)
	}
	for range 200 {
		if err := own.report(id, 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := outcome(); strings.HasPrefix(got, "null") || strings.Contains(got, `"outcome"`) {
		t.Errorf("one report: %s", got)
	}
	if status, out := mammactl(t, d, 0, 0, "prefixes"); status != 0 || !strings.Contains(out, " up ") {
		t.Errorf("status %d\n%s", status, out)
	}
}
