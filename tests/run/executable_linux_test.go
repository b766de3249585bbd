package run

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The supervisor has an executable of its own if one of the same version lies where it is
// built or installed, and nobody else can have put it there. Else mammactl does its work.
func TestExecutableOfSupervisor(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, place string
		spoil       func(path string) error
		want        string // executable of the supervisor
	}{
		{"built", "bin/mammactl-run", nil, "mammactl-run"},
		{"installed", "libexec/mamma/mammactl-run", nil, "mammactl-run"},
		{"alone", "", nil, "mammactl"},
		{"elsewhere", "lib/mammactl-run", nil, "mammactl"},
		{"of another version", "bin/mammactl-run", func(path string) error {
			return exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X main.version=v7", "-o", path, "../../cmd/mammactl-run").Run()
		}, "mammactl"},
		{"something else", "bin/mammactl-run", func(path string) error {
			return exec.Command("cp", "/bin/true", path).Run()
		}, "mammactl"},
		{"that everybody may write to", "bin/mammactl-run", func(path string) error { return os.Chmod(path, 0o777) }, "mammactl"},
		{"no program", "bin/mammactl-run", func(path string) error { return os.WriteFile(path, []byte("x"), 0o755) }, "mammactl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t)
			place(t, "mammactl", filepath.Join(dir, "bin/mammactl"))
			if tt.place != "" {
				place(t, "mammactl-run", filepath.Join(dir, tt.place))
			}
			if tt.spoil != nil {
				if err := tt.spoil(filepath.Join(dir, tt.place)); err != nil {
					t.Fatal(err)
				}
			}
			cmd := w.command(users()[0], "--intents", intents["wwan0"], "--", "sh", "-c", "readlink /proc/$PPID/exe; "+bin+"/dialer tcp "+service4+":7000")
			cmd.Path = filepath.Join(dir, "bin/mammactl")
			out, errs, status := w.output(t, cmd)
			exe, from, _ := strings.Cut(strings.TrimSpace(out), "\n")
			if filepath.Base(exe) != tt.want || from != w.address("wwan0", false) || status != 0 || errs != "" {
				t.Errorf("supervisor %q, connection from %q, status %d, said %q; want %q and %q", exe, from, status, errs, tt.want, w.address("wwan0", false))
			}
		})
	}
}

// place copies a program to a path.
func place(t *testing.T, name, path string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(bin, name))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
