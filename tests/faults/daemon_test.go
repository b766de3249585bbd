package faults

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// daemon is a running mamma.
type daemon struct {
	*stage.Process
	dir    string // of its sockets
	socket string
}

// options say how to start a daemon. The zero value runs it in the test's namespace, with a
// directory of its own.
type options struct {
	in      *testbed.Namespace
	program string // "": the one under test
	dir     string
	file    int    // limit of open files; 0: as it is
	uid     uint32 // user and group to run as; 0: as it is
}

// newDir makes a directory that every user can read.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mamma-faults")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// launch starts mamma without waiting for anything.
func launch(t *testing.T, o options, args ...string) *daemon {
	t.Helper()
	if o.dir == "" {
		o.dir = newDir(t)
	}
	d := &daemon{dir: o.dir, socket: filepath.Join(o.dir, "mamma.sock")}
	program := o.program
	if program == "" {
		program = filepath.Join(bin, "mamma")
	}
	args = append([]string{"--socket", d.socket}, args...)
	if o.file > 0 {
		// This sets the hard limit. The runtime raises the soft limit to it.
		args = append([]string{"-c", `ulimit -n "$0" && exec "$@"`, itoa(o.file), program}, args...)
		program = "/bin/sh"
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout = stage.NewOutput()
	cmd.Stderr = cmd.Stdout
	if o.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: o.uid, Gid: o.uid}}
	}
	d.Process = stage.Launch(t, o.in, cmd)
	return d
}

// start starts mamma and waits until it serves its sockets.
func start(t *testing.T, o options, args ...string) *daemon {
	t.Helper()
	d := launch(t, o, args...)
	stage.Until(t, "mamma serves its socket", func() bool {
		select {
		case <-d.Exited():
			t.Fatalf("mamma ended:\n%s", d.Log)
		default:
		}
		c, err := net.Dial("unix", d.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	d.Log.Await(t, "msg=serving", 1) // the control socket, too
	return d
}

// stop ends the daemon in order.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // read by other users
		t.Fatal(err)
	}
	return path
}

// A configuration that became a FIFO without a writer fails one reload. It does not keep the
// daemon from the next one.
func TestReloadFromFIFO(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		start      func(conf string) *stage.Process
	}{
		{"mamma", loopbackConf, func(conf string) *stage.Process { return start(t, options{}, conf).Process }},
		{"muacsocksd", "listen = [\"127.0.0.1:0\"]\n", func(conf string) *stage.Process {
			p := stage.Launch(t, nil, exec.Command(filepath.Join(bin, "muacsocksd"), "--socket", conf+".none", "--config", conf))
			p.Log.Await(t, "msg=listening", 1)
			return p
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := write(t, filepath.Join(t.TempDir(), "conf"), tt.text)
			p := tt.start(conf)
			if err := os.Remove(conf); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(conf, 0o600); err != nil {
				t.Fatal(err)
			}
			p.Signal(t, syscall.SIGHUP)
			p.Log.Await(t, "perhaps it is a FIFO that nobody writes to", 1)
			if err := os.Remove(conf); err != nil {
				t.Fatal(err)
			}
			write(t, conf, tt.text)
			p.Signal(t, syscall.SIGHUP)
			p.Log.Await(t, "msg=reloaded", 1)
			p.Signal(t, syscall.SIGTERM)
			p.Wait(t)
		})
	}
}
