package rules

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

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
	path, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs the program cat: ", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(copied, content, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied)
	cmd.Args[0] = "cat" // which programs that have many names go by
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
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it runs
		t.Fatal(err)
	}
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	if got := Executable(cmd.Process.Pid); got != copied {
		t.Errorf("of a program that was removed: %q, want %q", got, copied)
	}
	if !IsAt(cmd.Process.Pid, copied) {
		t.Error("a program that was removed is not believed to have had its path")
	}
}

// In a mount namespace of its own, a user gives a program the path of another one.
func TestIsAtInOtherMounts(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs the program cat: ", err)
	}
	if cat, err = filepath.EvalSymlinks(cat); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"mount", "unshare", "sh"} {
		if _, err := exec.LookPath(path); err != nil {
			t.Skip("needs the programs mount, unshare and sh: ", err)
		}
	}
	dir := t.TempDir()
	content, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	own, victim := filepath.Join(dir, "own"), filepath.Join(dir, "victim")
	for _, f := range []string{own, victim} {
		if err := os.WriteFile(f, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		script string
		want   bool
	}{
		{`exec "$2"`, true}, // it is the file, whatever else is mounted
		{`mount --bind "$1" "$2" && exec "$2"`, false},
	} {
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", tt.script, "sh", own, victim)
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
		_, err = in.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(out, make([]byte, 1)) // it runs
		}
		exe, at := Executable(cmd.Process.Pid), IsAt(cmd.Process.Pid, victim)
		_ = in.Close()
		_ = cmd.Wait()
		if err != nil {
			required.Lacking(t, "needs mount namespaces: %v", err)
		}
		if exe != victim || at != tt.want {
			t.Errorf("%s: runs %q, is there: %v; want %q, %v", tt.script, exe, at, victim, tt.want)
		}
	}
}

// A program that was started by way of another mount namespace has that namespace's path,
// but this one's mounts.
func TestIsAtByWayOfOtherMounts(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs the program cat: ", err)
	}
	for _, path := range []string{"mount", "unshare", "sh"} {
		if _, err := exec.LookPath(path); err != nil {
			t.Skip("needs the programs mount, unshare and sh: ", err)
		}
	}
	dir := t.TempDir()
	content, err := os.ReadFile(cat)
	if err != nil {
		t.Fatal(err)
	}
	own, victim := filepath.Join(dir, "own"), filepath.Join(dir, "victim")
	for _, f := range []string{own, victim} {
		if err := os.WriteFile(f, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mounts := exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount --bind "$1" "$2" && exec "$2"`, "sh", own, victim)
	ended := running(t, mounts)
	defer ended()
	program := exec.Command(fmt.Sprintf("/proc/%d/root%s", mounts.Process.Pid, victim))
	program.Args[0] = "cat"
	defer running(t, program)()
	for _, pid := range []int{mounts.Process.Pid, program.Process.Pid} {
		if exe := Executable(pid); exe != victim {
			t.Errorf("runs %q, not %q", exe, victim)
		}
		if IsAt(pid, victim) {
			t.Error("it is believed to run the file at its path")
		}
	}
	// Nor is it believed when its mount is gone, or the victim's file.
	ended()
	if err := os.Remove(victim); err != nil {
		t.Fatal(err)
	}
	if IsAt(program.Process.Pid, victim) {
		t.Error("it is believed to have run the file that was removed")
	}
}

// running starts a program that echoes its input, as cat does, and waits until it does. The
// returned function ends the program. It may be called twice.
func running(t *testing.T, cmd *exec.Cmd) (end func()) {
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
		required.Lacking(t, "needs mount namespaces: %v", err)
	}
	return end
}
