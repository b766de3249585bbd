package system

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// originalConf is a configuration in the grammar of the original. Every host has its
// network.
const originalConf = `policy "/usr/local/lib/mam-policies/policy_sample.so" { };
prefix 127.0.0.1/8 { enabled 1; set default 1; };
`

// A tmp is a directory that programs started in it see as /tmp. All paths of the
// original are in /tmp, where other tests or a daemon of this host may have files of
// their own.
type tmp string

func newTmp(t *testing.T) tmp {
	t.Helper()
	dir := tmp(t.TempDir())
	if err := os.Link(filepath.Join(bin, "mamma"), dir.path("mamma")); err != nil {
		t.Fatal(err)
	}
	probe := dir.in(nil, "true")
	probe.Stderr = new(bytes.Buffer)
	if err := probe.Run(); err != nil {
		testbed.SkipOrFail(t, &mountError{probe.Stderr.(*bytes.Buffer).String()})
	}
	return dir
}

type mountError struct{ text string }

func (e *mountError) Error() string { return "a mount namespace: " + e.text }
func (e *mountError) Unwrap() error { return testbed.ErrUnavailable }

// path returns the path, in this test, of the file that the programs see as /tmp/name.
func (d tmp) path(name string) string { return filepath.Join(string(d), name) }

func (d tmp) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// in returns a command that runs a program with the directory as its /tmp. env is added
// to the program's environment.
func (d tmp) in(env []string, argv ...string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", `mount --bind "$0" /tmp && cd /tmp && exec "$@"`, string(d)}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// mamma starts mamma with the directory as its /tmp. It waits until mamma serves.
func (d tmp) mamma(t *testing.T, in *testbed.Namespace, args ...string) *daemon {
	t.Helper()
	cmd := d.in(nil, append([]string{"/tmp/mamma"}, args...)...)
	p := &daemon{Process: stage.Launch(t, in, cmd)}
	p.Log.Await(t, "msg=serving", 1)
	return p
}

func answers(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// A daemon with an unchanged configuration of the original is found by programs built
// against the original library, unless another daemon serves that path.
func TestOriginalConfigurationServesOriginals(t *testing.T) {
	dir := newTmp(t)
	dir.write(t, "policy.conf", originalConf)
	checked := func() string {
		out, err := dir.in(nil, "/tmp/mamma", "--check", "policy.conf").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := checked(); !strings.Contains(got, "warning: policy.conf: the file is in the original grammar, so programs built against the original library are served, too, at /tmp/muacc") {
		t.Errorf("--check before the start says:\n%s", got)
	}

	first := dir.mamma(t, nil, "--socket", "/tmp/first.sock", "policy.conf")
	first.Out.Await(t, "Listening at /tmp/first.sock, and, as the configuration is in the original grammar, at /tmp/muacc, where programs built against the original library look.\n", 1)
	for _, name := range []string{"muacc", "first.sock"} {
		if got := exchange(t, dir.path(name), connectRequest(t)).Context.BindSuggested; !got.IsValid() {
			t.Errorf("no suggestion at %s", name)
		}
	}
	if got, want := checked(), "where another process (pid "+strconv.Itoa(first.Cmd.Process.Pid)+") answers: they reach that one, not this daemon"; !strings.Contains(got, want) {
		t.Errorf("--check beside a daemon says:\n%s\nwant %s", got, want)
	}

	// A second daemon serves its own path and does not touch the first one's.
	second := dir.mamma(t, nil, "--socket", "/tmp/second.sock", "--control", "/tmp/second-control.sock", "policy.conf")
	second.Log.Await(t, originalsUnserved, 1)
	second.Out.Await(t, "Listening at /tmp/second.sock, and, as the configuration is in the original grammar, not at /tmp/muacc", 1)
	exchange(t, dir.path("second.sock"), connectRequest(t))
	second.Signal(t, syscall.SIGTERM)
	if status := second.Wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if !answers(dir.path("muacc")) {
		t.Error("the end of the second daemon took the first one's socket")
	}
	first.Signal(t, syscall.SIGTERM)
	if status := first.Wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if _, err := os.Lstat(dir.path("muacc")); err == nil {
		t.Error("the socket is still there after the end")
	}

	// Any other file at that path is not an error, because nobody asked for a socket there.
	dir.write(t, "muacc", "precious")
	third := dir.mamma(t, nil, "--socket", "/tmp/third.sock", "policy.conf")
	third.Log.Await(t, "it is left alone", 1)
	exchange(t, dir.path("third.sock"), connectRequest(t))
	if got := checked(); !strings.Contains(got, "could not listen") {
		t.Errorf("--check beside a file says:\n%s", got)
	}
}

const originalsUnserved = "programs built against the original library do not reach this daemon"

// With a configuration in the original grammar, all paths of the original can be set,
// by settings of the policy block, which the policy does not get, and by flags.
func TestOriginalPaths(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}}) // a network is needed, so that there is something to log
	for _, tt := range []struct {
		name  string
		block string // settings in the policy block
		args  []string
		want  string // names of the files that appear
	}{
		{"by the file", `set compat_fifo = "/tmp/mam_config_fifo"; set log_prefixes = "/tmp/metrics_prefix.log"; set log_interfaces "/tmp/metrics_interface.log";`, nil, "muacc mam_config_fifo metrics_prefix.log metrics_interface.log"},
		{"by flags", "", []string{"--compat-fifo", "/tmp/mam_config_fifo", "--log-prefixes=/tmp/metrics_prefix.log", "--log-interfaces", "metrics_interface.log"}, "muacc mam_config_fifo metrics_prefix.log metrics_interface.log"},
		{"none by the file", `set compat_socket off;`, nil, ""},
		{"none by flags", `set compat_fifo = "fifo";`, []string{"--compat-socket=off", "--compat-fifo=off"}, ""},
		{"another socket by the file", `set compat_socket = "/tmp/other";`, nil, "other"},
		{"another socket by flags", `set compat_socket = "/tmp/nobody";`, []string{"--compat-socket", "/tmp/other"}, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := newTmp(t)
			dir.write(t, "policy.conf", strings.Replace(originalConf, "{ }", "{ "+tt.block+" }", 1))
			d := dir.mamma(t, bed.Client, append(append([]string{"--socket", "/tmp/own.sock"}, tt.args...), "policy.conf")...)
			wanted := map[string]bool{"mamma": true, "policy.conf": true, "own.sock": true, "control.sock": true}
			for _, name := range strings.Fields(tt.want) {
				wanted[name] = true
				stage.Until(t, name+" is there", func() bool { _, err := os.Lstat(dir.path(name)); return err == nil })
			}
			entries, err := os.ReadDir(string(dir))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if !wanted[e.Name()] {
					t.Errorf("%s is there", e.Name())
				}
			}
			for _, name := range []string{"muacc", "other"} {
				if wanted[name] {
					exchange(t, dir.path(name), connectRequest(t))
				}
			}
			if wanted["mam_config_fifo"] {
				fd, err := unix.Open(dir.path("mam_config_fifo"), unix.O_WRONLY|unix.O_NONBLOCK, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = unix.Write(fd, []byte("10.0.0.1\n"))
				_ = unix.Close(fd)
				d.Log.Await(t, "policy sample takes no configuration at run time", 1)
			}
		})
	}
}
