package rules

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
}
