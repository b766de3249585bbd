package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// trap is something that somebody has put in the place of a file.
type trap struct {
	dir, path, precious, nowhere string
}

// traps lists the kinds of traps.
var traps = []string{"link to a file", "link to nowhere", "hard link", "file", "another user's file", "FIFO", "directory"}

// lay lays a trap. The test is skipped if there can be no other user.
func lay(t *testing.T, kind string) trap {
	t.Helper()
	dir := newDir(t)
	p := trap{dir: dir, path: filepath.Join(dir, "path"), precious: filepath.Join(dir, "precious"), nowhere: filepath.Join(dir, "nowhere")}
	write(t, p.precious, "data")
	var err error
	switch kind {
	case "link to a file":
		err = os.Symlink(p.precious, p.path)
	case "link to nowhere":
		err = os.Symlink(p.nowhere, p.path)
	case "hard link": // where anybody could have made it
		if err = os.Chmod(dir, 0o777); err == nil {
			err = os.Link(p.precious, p.path)
		}
	case "file":
		write(t, p.path, "data")
	case "another user's file":
		write(t, p.path, "data")
		if err := os.Chown(p.path, userA, userA); err != nil {
			t.Skipf("needs CAP_CHOWN and a second user: %v", err)
		}
	case "FIFO":
		err = unix.Mkfifo(p.path, 0o666)
		if err == nil {
			err = os.Chown(p.path, userA, userA)
		}
		if err != nil {
			t.Skipf("needs CAP_CHOWN and a second user: %v", err)
		}
	case "directory":
		err = os.Mkdir(p.path, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sprung checks that nothing has happened that should not.
func (p trap) sprung(t *testing.T, kind string) {
	t.Helper()
	if b, err := os.ReadFile(p.precious); string(b) != "data" || err != nil {
		t.Errorf("the file now holds %q, %v", b, err)
	}
	if _, err := os.Lstat(p.nowhere); err == nil {
		t.Error("the link was followed")
	}
	info, err := os.Lstat(p.path)
	if err != nil {
		t.Fatalf("what was there is gone: %v", err)
	}
	if st := info.Sys().(*syscall.Stat_t); kind == "another user's file" && st.Uid == userA {
		if b, err := os.ReadFile(p.path); string(b) != "data" || err != nil {
			t.Errorf("the other user's file now holds %q, %v", b, err)
		}
	}
}

// A user who can write to the directory of a file can put something in its place before
// mamma makes it. Links are not followed, and other people's files are left as they
// are. If mamma needs the file, it ends and says why.
func TestTrapsAtPaths(t *testing.T) {
	bed, _ := oneNetwork(t) // of loopback nothing is logged
	const policyLog = `policy "sample" {
  logfile = "PATH"
}`
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
		{"policy log", policyLog, false, "PATH", true},
		{"recorded decisions", "decisions {\n  record = \"PATH\"\n}", false, "PATH", false},
	} {
		for _, kind := range traps {
			if kind == "file" && tt.own {
				continue
			}
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				p := lay(t, kind)
				setting := strings.ReplaceAll(tt.setting, "PATH", p.path)
				text := networksConf + setting + "\n"
				if tt.setting == policyLog {
					text = strings.Replace(networksConf, "policy \"sample\" {\n}", setting, 1)
				}
				conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), text)
				args := []string{conf}
				if tt.setting == "" {
					args = []string{"--socket", p.path, conf}
				}
				if tt.fatal {
					d := launch(t, options{in: bed.Client}, args...)
					if status := d.Wait(t); status != 1 || !strings.Contains(d.Log.String(), tt.says) {
						t.Errorf("status %d, want an error with %q:\n%s", status, tt.says, d.Log)
					}
				} else {
					d := start(t, options{in: bed.Client}, args...)
					suggestion(t, d.socket, toService)
					d.Log.Await(t, p.path, 1) // it cannot be written to
					d.stop(t)
				}
				p.sprung(t, kind)
			})
		}
	}
}

// State from an earlier run is not taken from a file of others. When it is saved, a link is
// replaced, and not the file to which the link leads.
func TestTrapsAtState(t *testing.T) {
	bed, _ := oneNetwork(t)
	for _, kind := range traps {
		t.Run(kind, func(t *testing.T) {
			p := lay(t, kind)
			budget := filepath.Join(p.dir, "budget.json")
			if err := os.Rename(p.path, budget); err != nil {
				t.Fatal(err)
			}
			p.path = budget
			conf := strings.Replace(networksConf, "default = true\n", "default = true\n  budget = \"1GB\"\n", 1) + "state_dir = \"" + p.dir + "\"\n"
			d := start(t, options{in: bed.Client}, write(t, filepath.Join(t.TempDir(), "policy.conf"), conf))
			if a := suggestion(t, d.socket, toService); a != bed.Networks[0].Client4 {
				t.Errorf("suggested %v", a)
			}
			d.Log.Await(t, "budgets begin anew", 1)
			d.stop(t)
			p.sprung(t, kind)
		})
	}
	for _, kind := range traps {
		t.Run("proxy, "+kind, func(t *testing.T) {
			p := lay(t, kind)
			conf := write(t, filepath.Join(t.TempDir(), "socks.conf"), "listen = [\"127.0.0.1:0\"]\nlearning {\n  file = \""+p.path+"\"\n}\n")
			proxy := stage.Launch(t, nil, exec.Command(filepath.Join(bin, "muacsocksd"), "--socket", filepath.Join(p.dir, "none"), "--config", conf))
			proxy.Log.Await(t, p.path, 1)
			proxy.Signal(t, syscall.SIGTERM)
			proxy.Wait(t)
			p.sprung(t, kind)
		})
	}
}
