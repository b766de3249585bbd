package client_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The program at the beginning of the README is complete and compiles.
func TestReadmeProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds a program in a module of its own")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```go\n")
	program, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatal("the README has no Go program")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command("gofmt", "-l", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("gofmt: %s (%v)", out, err)
	}
}

// The README's recipe for a module beside a checkout of this one works, line by line,
// with the modules in the cache.
func TestReadmeRecipe(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds a program in a module of its own")
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```go\n")
	program, rest, _ := strings.Cut(rest, "\n```\n")
	_, rest, _ = strings.Cut(rest, "\n```\n")
	recipe, _, found := strings.Cut(rest, "\n```\n")
	if !found || !strings.HasPrefix(recipe, "go mod init ") {
		t.Fatalf("the README has no recipe behind its program, but %q", recipe)
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	module := filepath.Join(dir, "fetch")
	if err := os.Mkdir(module, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(checkout, filepath.Join(dir, "mamma")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "main.go"), []byte(program+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-e", "-x", "-c", recipe)
	cmd.Dir = module
	// This is as on a beginner's machine, but without the network.
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOSUMDB=off", "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if missing := regexp.MustCompile(`(?m)^.*module lookup disabled by GOPROXY=off.*$`).Find(out); err != nil && missing != nil {
		t.Skipf("missing capability: a module in the cache, which go mod tidy asks for: %s", missing)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(module, "fetch")); err != nil {
		t.Error(err)
	}
}
