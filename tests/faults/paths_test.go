package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever can write to a directory in which mamma makes a file can put something
// there before. Links are not followed, other people's files are left as they
// are; where mamma cannot do without the file, it ends and says why.
func TestTrapsAtPaths(t *testing.T) {
	bed, _ := oneNetwork(t) // of loopback nothing is logged
	for _, tt := range []struct {
		name    string
		setting string // with PATH; "": the request socket
		fatal   bool
		says    string
		own     bool // a file of ours there is right
	}{
		{"request socket", "", true, "it is left alone", false},
		{"control socket", `control_socket = "PATH"`, true, "it is left alone", false},
		{"compatibility socket", `compat_socket = "PATH"`, true, "it is left alone", false},
		{"FIFO", `compat_fifo = "PATH"`, true, "FIFO", false},
		{"prefix log", "logs {\n  prefixes = \"PATH\"\n}", false, "PATH", true},
		{"interface log", "logs {\n  interfaces = \"PATH\"\n}", false, "PATH", true},
		{"recorded decisions", "decisions {\n  record = \"PATH\"\n}", false, "PATH", false},
	} {
		for _, trap := range []string{"link to a file", "link to nowhere", "file", "directory"} {
			if trap == "file" && tt.own {
				continue
			}
			t.Run(tt.name+", "+trap, func(t *testing.T) {
				dir := newDir(t)
				precious, nowhere, path := filepath.Join(dir, "precious"), filepath.Join(dir, "nowhere"), filepath.Join(dir, "path")
				write(t, precious, "data")
				var err error
				switch trap {
				case "link to a file":
					err = os.Symlink(precious, path)
				case "link to nowhere":
					err = os.Symlink(nowhere, path)
				case "file":
					write(t, path, "data")
				case "directory":
					err = os.Mkdir(path, 0o755)
				}
				if err != nil {
					t.Fatal(err)
				}
				conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), networksConf+strings.ReplaceAll(tt.setting, "PATH", path)+"\n")
				args := []string{conf}
				if tt.setting == "" {
					args = []string{"--socket", path, conf}
				}
				if tt.fatal {
					d := launch(t, options{in: bed.Client}, args...)
					if status := d.Wait(t); status != 1 || !strings.Contains(d.Log.String(), tt.says) {
						t.Errorf("status %d, want an error with %q:\n%s", status, tt.says, d.Log)
					}
				} else {
					d := start(t, options{in: bed.Client}, args...)
					suggestion(t, d.socket, toService)
					d.Log.Await(t, path, 1) // it cannot be written to
					d.stop(t)
				}
				if b, err := os.ReadFile(precious); string(b) != "data" || err != nil {
					t.Errorf("the file now holds %q, %v", b, err)
				}
				if _, err := os.Lstat(nowhere); err == nil {
					t.Error("the link was followed")
				}
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("what was there is gone: %v", err)
				}
			})
		}
	}
}
