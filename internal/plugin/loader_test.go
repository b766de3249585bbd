package plugin

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

// question and answer are the types of testdata/loader.
type question struct {
	Path     string
	Settings []policy.Setting
	Port     uint16
}

type answer struct{ Kind, Error, Hint, Reason, Err string }

// loader is a running testdata/loader: a process with one Loader.
type loader struct {
	in  io.Writer
	out *bufio.Reader
}

func startLoader(t *testing.T, file string) *loader {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), file)
	cmd.Stderr = os.Stderr
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
	t.Cleanup(func() {
		_ = in.Close() // the program ends at the end of its input
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("loader: %v", err)
		}
	})
	return &loader{in: in, out: bufio.NewReader(out)}
}

func (l *loader) ask(t *testing.T, q question) answer {
	t.Helper()
	var a answer
	text, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.in.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
	line, err := l.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("loader gave no answer about %s: %v", q.Path, err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestLoader builds plugins of every kind and opens them in a program that is built
// like the daemon. Its parts are one test because they share what was built.
func TestLoader(t *testing.T) {
	c := newToolchain(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// Linking takes half the time without debug information.
	build := []string{"go", "build", "-trimpath", "-ldflags=-w"}
	asPlugin := append(build[:4:4], "-buildmode=plugin")
	with := func(args []string, more ...string) []string { return append(args[:len(args):len(args)], more...) }

	c.start(t, here, with(build, "-o", c.file("loader"), "./testdata/loader")...)
	c.start(t, here, with(asPlugin, "-o", c.file("good.so"), "./testdata/good")...)
	c.wg.Wait() // the builds below then find their packages compiled
	c.start(t, here, with([]string{"CGO_ENABLED=0"}, with(build, "-o", c.file("static"), "./testdata/loader")...)...)
	for _, name := range []string{"nonew", "wrongtype", "panics"} {
		c.start(t, here, with(asPlugin, "-o", c.file(name+".so"), "./testdata/"+name)...)
	}
	c.start(t, here, with(asPlugin, "-ldflags=-s -w -X main.version=second", "-o", c.file("second.so"), "./testdata/good")...)
	c.start(t, here, with(asPlugin, "-tags=other", "-o", c.file("tags.so"), "./testdata/nonew")...)
	// This compiles the runtime again, so it is done for two settings only.
	c.start(t, here, "go", "build", "-buildmode=plugin", "-race", "-ldflags=-w", "-o", c.file("race.so"), "./testdata/nonew")
	c.wait(t)

	t.Run("good", func(t *testing.T) { testGood(t, c) })
	t.Run("refused", func(t *testing.T) { testRefused(t, c) })
	t.Run("replaced", func(t *testing.T) { testReplaced(t, c) })
	t.Run("static", func(t *testing.T) { testStatic(t, c) })
	t.Run("third party", func(t *testing.T) { testThirdParty(t, c) })
}

func testGood(t *testing.T, c *toolchain) {
	l := startLoader(t, c.file("loader"))
	want := answer{Reason: "first"}
	if diff := cmp.Diff(want, l.ask(t, question{Path: c.file("good.so")})); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	link := c.file("link.so")
	if err := os.Symlink("good.so", link); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, l.ask(t, question{Path: link})); diff != "" {
		t.Errorf("again, by a link: answer (-want +got):\n%s", diff)
	}
	if !IsPlugin(link) || IsPlugin(c.file("loader")) {
		t.Error("IsPlugin takes the one for the other")
	}
}

func testRefused(t *testing.T, c *toolchain) {
	shared := c.file("shared.so")
	copyFile(t, c.file("good.so"), shared)
	if err := os.Chmod(shared, 0o775); err != nil {
		t.Fatal(err)
	}
	text := c.file("text.so")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		file         string
		kind         Kind
		reason, hint string // parts of the message
	}{
		{"nothing.so", Missing, "nothing.so does not exist", ""},
		{"shared.so", Permissions, "shared.so is writable by its group", "chmod g-w " + shared},
		{"text.so", NotPlugin, "it is not an ELF file", ""},
		{"loader", NotPlugin, "-buildmode=exe", "go build -trimpath -buildmode=plugin"},
		{"tags.so", OtherBuild, "(-tags is other, mamma has unset)", "go build -trimpath -buildmode=plugin -o nonew.so"},
		{"race.so", OtherBuild, "(-trimpath is unset, mamma has true; -race is true, mamma has unset)",
			"go build -trimpath -buildmode=plugin -o nonew.so"},
		{"nonew.so", WrongSymbol, "exports no New; it must have func New(policy.Config) (policy.Policy, error)", "restart"},
		{"wrongtype.so", WrongSymbol, "exports a New of type func(policy.Config) policy.Policy; it must have", "restart"},
		{"panics.so", Failed, "its initialization panicked: out of order", ""},
		{"panics.so", Failed, "its initialization panicked: out of order", ""}, // and does not hang
	}
	l := startLoader(t, c.file("loader"))
	for _, tt := range tests {
		got := l.ask(t, question{Path: c.file(tt.file)})
		if got.Kind != tt.kind.String() || !strings.Contains(got.Error, tt.reason) || !strings.Contains(got.Hint, tt.hint) {
			t.Errorf("%s: got %+v\nwant %v, %q, hint %q", tt.file, got, tt.kind, tt.reason, tt.hint)
		}
	}
	// None of these prevents the next plugin from being opened.
	if got := l.ask(t, question{Path: c.file("good.so")}); got.Reason != "first" {
		t.Errorf("good.so after the others: got %+v", got)
	}
}

func testReplaced(t *testing.T, c *toolchain) {
	file := c.file("replaced.so")
	copyFile(t, c.file("good.so"), file)
	l := startLoader(t, c.file("loader"))
	if got := l.ask(t, question{Path: file}); got.Reason != "first" {
		t.Fatalf("before: got %+v", got)
	}
	// Like build tools, this puts a new file in the old one's place. The old one stays
	// mapped.
	next := c.file("next.so")
	copyFile(t, c.file("second.so"), next)
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	want := answer{Kind: "changed", Hint: "Restart mamma to load it.",
		Error: "policy plugin " + file + " has changed since it was opened"}
	if diff := cmp.Diff(want, l.ask(t, question{Path: file})); diff != "" {
		t.Errorf("replaced: answer (-want +got):\n%s", diff)
	}
	other := c.file("second.so")
	want.Error = "policy plugin " + other + " is another build of " + file + ", which is open already"
	if diff := cmp.Diff(want, l.ask(t, question{Path: other})); diff != "" {
		t.Errorf("other build elsewhere: answer (-want +got):\n%s", diff)
	}
	// With the old contents, the file is the plugin that is open.
	copyFile(t, c.file("good.so"), next)
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	if got := l.ask(t, question{Path: file}); got.Reason != "first" {
		t.Errorf("restored: got %+v", got)
	}
	// After a restart, the plugin that this process could not open is opened.
	if got := startLoader(t, c.file("loader")).ask(t, question{Path: other}); got.Reason != "second" {
		t.Errorf("after a restart: got %+v", got)
	}
}

func testStatic(t *testing.T, c *toolchain) {
	got := startLoader(t, c.file("static")).ask(t, question{Path: c.file("good.so")})
	want := answer{Kind: "unsupported", Hint: "Use a policy that is compiled in, or a mamma built with CGO_ENABLED=1.",
		Error: "policy plugin " + c.file("good.so") + " cannot be opened: this mamma was built without cgo"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// testThirdParty follows the README of examples/policy: its folder alone, and a
// source tree of mamma somewhere else.
func testThirdParty(t *testing.T, c *toolchain) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skipf("missing capability: %v", err)
	}
	dir := trustedDir(t)
	copyTree(t, dir, []string{"examples/policy"})
	same, changed := filepath.Join(dir, "same"), filepath.Join(dir, "changed")
	parts := []string{"go.mod", "go.sum", "intent", "policy"}
	copyTree(t, same, parts)
	copyTree(t, changed, parts, "type App struct {", "type App struct {\n\tDesktop string")
	example := filepath.Join(dir, "examples/policy")
	for _, tree := range []string{same, changed} { // one after the other, because they share a folder
		c.start(t, example, "make", "MAMMA="+tree, "OUT="+tree+".so", "FLAGS=-trimpath -ldflags=-w")
		c.wait(t)
	}
	l := startLoader(t, c.file("loader"))
	got := l.ask(t, question{Path: changed + ".so"})
	want := answer{Kind: "other build",
		Error: "policy plugin " + changed + ".so was built for another mamma (package policy differs)",
		Hint:  "Rebuild it, in a workspace with the source tree of this mamma, with:  go build -trimpath -buildmode=plugin -o ports.so example.net/ports",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed tree: answer (-want +got):\n%s", diff)
	}
	got = l.ask(t, question{Path: same + ".so", Port: 22, Settings: []policy.Setting{
		{Name: "ports", List: []string{"22"}, Constant: true},
		{Name: "interface", Value: "lo", Constant: true},
	}})
	if diff := cmp.Diff(answer{Reason: "port 22 goes by lo"}, got); diff != "" {
		t.Errorf("same tree: answer (-want +got):\n%s", diff)
	}
}

// copyFile writes a new file. It never overwrites a file, because a process may have
// mapped it.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}
