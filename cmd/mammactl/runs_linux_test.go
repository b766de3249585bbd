package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A process shows as many arguments as it likes. Those with more than a bound are not
// read to their end, and not shown.
func TestRunsAreBounded(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs a shell: ", err)
	}
	if sh, err = filepath.EvalSymlinks(sh); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mammactl"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte("echo; read -r x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for name, size := range map[string]int{"short": 1, "long": maxRunArgs} {
		cmd := exec.Command(filepath.Join(dir, "mammactl"), "run", "--", name, strings.Repeat("x", size))
		cmd.Args[0], cmd.Dir = "sh", dir // some shells are many programs in one
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
		_, err = io.ReadFull(out, make([]byte, 1)) // it runs
		for _, r := range (&app{getenv: os.Getenv}).runs() {
			shown[name] = shown[name] || r.PID == cmd.Process.Pid && slices.Contains(r.Program, name)
		}
		_ = in.Close()
		_ = cmd.Wait()
		if err != nil {
			t.Fatal(err)
		}
	}
	if !shown["short"] || shown["long"] {
		t.Errorf("shown: %v", shown)
	}
}
