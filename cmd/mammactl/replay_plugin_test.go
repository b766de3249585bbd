package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/socket-intents/mamma/internal/operator/decisionlog"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// A plugin can be tried on recorded decisions before any mamma loads it. This one is
// that of examples/policy, built as its Makefile says.
func TestReplayPlugin(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds a program and a plugin")
	}
	for _, program := range []string{"gcc", "make"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("missing capability: %v", err)
		}
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "policy"), os.DirFS("../../examples/policy")); err != nil {
		t.Fatal(err)
	}
	mammactl := filepath.Join(dir, "mammactl")
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", mammactl, "."),
		exec.Command("make", "-C", filepath.Join(dir, "policy"), "build", "MAMMA="+checkout, "FLAGS=-trimpath -buildvcs=false"),
	} {
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
			name, _, _ := strings.Cut(v, "=")
			return slices.Contains([]string{"GOFLAGS", "GOWORK", "MAKEFLAGS", "MFLAGS"}, name)
		})
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	so := filepath.Join(dir, "ports.so")
	if err := os.Rename(filepath.Join(dir, "policy", "build", "ports.so"), so); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(so, 0o755); err != nil { //nolint:gosec // whatever the umask is, nobody else may write
		t.Fatal(err)
	}

	wlan := &policy.Prefix{ID: policy.PrefixID{Interface: "wlan0"}, Interface: "wlan0", Default: true}
	wwan := &policy.Prefix{ID: policy.PrefixID{Interface: "wwan0"}, Interface: "wwan0"}
	var e decisionlog.Encoder
	var text []byte
	for _, port := range []uint16{443, 22} {
		r := &policy.Request{Kind: policy.Connect, Port: port, Prefixes: []*policy.Prefix{wlan, wwan}, Now: now}
		if text, err = e.Append(text, "threshold", r, policy.Decision{Prefix: wlan, Reason: "the default"}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	file := write("decisions.jsonl", string(text))
	byName := write("name.conf", "policy_path = \""+dir+"\"\npolicy \"ports\" {\n  ports = [22]\n  interface = \"wwan0\"\n}\n")
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"by path, without the settings that it needs", []string{"--policy", so}, exitError, "both settings are needed"},
		{"by name, with the settings of its configuration", []string{"--config", byName}, exitOK, "2 decisions of threshold, replayed with ports: 1 the same"},
		{"both", []string{"--policy", so, "--config", byName}, exitOK, "replayed with ports: 1 the same"},
		{"another than the file's", []string{"--policy", "sample", "--config", byName}, exitError, `configures policy "ports", not "sample"`},
		{"not a plugin", []string{"--policy", file}, exitError, "is not a Go plugin"},
		{"not there", []string{"--policy", "./none.so"}, exitError, filepath.Join(here, "none.so")},
	} {
		cmd := exec.Command(mammactl, append([]string{"replay", file}, tt.args...)...)
		out, _ := cmd.CombinedOutput()
		if status := cmd.ProcessState.ExitCode(); status != tt.status || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: status %d\n%s", tt.name, status, out)
		}
	}
}

func TestCompletePolicy(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ports.so", "sample.so", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	complete := completePolicy(policies.All(), []string{dir, filepath.Join(dir, "none")})
	names, how := complete(nil, nil, "")
	want := append(policies.All().Names(), "ports")
	if !slices.Equal(names, want) || how != cobra.ShellCompDirectiveNoFileComp {
		t.Errorf("%q, want %q; %v", names, want, how)
	}
	if ext, how := complete(nil, nil, "./b"); !slices.Equal(ext, []string{"so"}) || how != cobra.ShellCompDirectiveFilterFileExt {
		t.Errorf("files: %q, %v", ext, how)
	}
}
