package rules

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/pidreuse"
	"github.com/socket-intents/mamma/internal/testing/required"
)

// A program keeps its path when its file is replaced while it runs, as by an upgrade.
func TestExecutable(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := Executable(os.Getpid()); got != own {
		t.Errorf("of this process: %q, want %q", got, own)
	}
	if got := Executable(-1); got != "" {
		t.Errorf("of no process: %q", got)
	}
	copied := copies(t, "cat")[0]
	cmd := exec.Command(copied)
	cmd.Args[0] = "cat" // which programs that have many names go by
	defer running(t, cmd, "")()
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	if got := Executable(cmd.Process.Pid); got != copied {
		t.Errorf("of a program that was removed: %q, want %q", got, copied)
	}
	if !isAt(t, cmd.Process.Pid, copied) {
		t.Error("a program that was removed is not believed to have had its path")
	}
}

// In a mount namespace of its own, a user gives a program the path of another one.
func TestIsAtInOtherMounts(t *testing.T) {
	own, victim := inMounts(t)
	for _, tt := range []struct {
		script string
		want   bool
	}{
		{`exec "$2"`, true}, // it is the file, whatever else is mounted
		{`mount --bind "$1" "$2" && exec "$2"`, false},
	} {
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", tt.script, "sh", own, victim)
		end := running(t, cmd, "mount namespaces")
		exe, at := Executable(cmd.Process.Pid), isAt(t, cmd.Process.Pid, victim)
		end()
		if exe != victim || at != tt.want {
			t.Errorf("%s: runs %q, is there: %v; want %q, %v", tt.script, exe, at, victim, tt.want)
		}
	}
}

// A program that was started by way of another mount namespace has that namespace's path,
// but this one's mounts.
func TestIsAtByWayOfOtherMounts(t *testing.T) {
	own, victim := inMounts(t)
	mounts := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount --bind "$1" "$2" && exec "$2"`, "sh", own, victim)
	ended := running(t, mounts, "mount namespaces")
	defer ended()
	program := exec.Command(fmt.Sprintf("/proc/%d/root%s", mounts.Process.Pid, victim))
	program.Args[0] = "cat"
	defer running(t, program, "mount namespaces")()
	for _, pid := range []int{mounts.Process.Pid, program.Process.Pid} {
		if exe := Executable(pid); exe != victim {
			t.Errorf("runs %q, not %q", exe, victim)
		}
		if isAt(t, pid, victim) {
			t.Error("it is believed to run the file at its path")
		}
	}
	// Nor is it believed when its mount is gone, or the victim's file.
	ended()
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if isAt(t, program.Process.Pid, victim) {
		t.Error("it is believed to have run the file that was removed")
	}
}

// A process that is gone is not taken for the one that has its id afterwards.
func TestProcessIsGone(t *testing.T) {
	gone := exec.Command("cat")
	end := running(t, gone, "")
	defer end()
	p, err := OpenProcess(gone.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if uid, ok := p.Owner(); !ok || uid != uint32(os.Geteuid()) {
		t.Errorf("user %d, %v", uid, ok)
	}
	exe := p.Executable()
	if exe == "" || !p.IsAt(exe) {
		t.Errorf("runs %q", exe)
	}
	end()
	next, err := pidreuse.Start(gone.Process.Pid, "cat")
	if err == nil {
		defer next()
		if got := Executable(gone.Process.Pid); got != exe {
			t.Errorf("the next process runs %q", got)
		}
	} else {
		t.Logf("the id stays free: %v", err)
	}
	if uid, ok := p.Owner(); ok {
		t.Errorf("gone: user %d", uid)
	}
	if got := p.Executable(); got != "" || p.IsAt(exe) {
		t.Errorf("gone: runs %q", got)
	}
}

// isAt asks about the process that has an id now.
func isAt(t *testing.T, pid int, path string) bool {
	t.Helper()
	p, err := OpenProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.IsAt(path)
}

// copies makes copies of the program cat in a directory of the test, and returns their paths.
func copies(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs the program cat: ", err)
	}
	content, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// inMounts returns two programs like cat, one of which can be mounted over the other.
func inMounts(t *testing.T) (own, victim string) {
	t.Helper()
	for _, name := range []string{"mount", "unshare", "sh"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("needs the programs mount, unshare and sh: ", err)
		}
	}
	both := copies(t, "own", "victim")
	return both[0], both[1]
}

// running starts a program that echoes its input, as cat does, and waits until it does. The
// returned function ends the program. It may be called twice. needs is what may be missing
// if the program does not echo; "": nothing.
func running(t *testing.T, cmd *exec.Cmd, needs string) (end func()) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	_, err = in.Write([]byte("x"))
	if err == nil {
		_, err = io.ReadFull(out, make([]byte, 1))
	}
	if err != nil {
		end()
		if needs == "" {
			t.Fatal(err)
		}
		required.Lacking(t, "needs %s: %v", needs, err)
	}
	return end
}
