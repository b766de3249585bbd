package faults

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testbed"
)

// daemon is a running mamma.
type daemon struct {
	cmd    *exec.Cmd
	dir    string // of its sockets
	socket string
	log    *output
	exited chan struct{} // closed once cmd was waited for
}

// options say how to start one. The zero value runs in the test's namespace, with
// a directory of its own.
type options struct {
	in   *testbed.Namespace
	dir  string
	file int    // limit of open files; 0: as it is
	uid  uint32 // user and group to run as; 0: as it is
}

// newDir makes a directory that every user can look into.
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

// launch starts mamma and does not wait for anything.
func launch(t *testing.T, o options, args ...string) *daemon {
	t.Helper()
	if o.dir == "" {
		o.dir = newDir(t)
	}
	d := &daemon{dir: o.dir, socket: filepath.Join(o.dir, "mamma.sock"), log: &output{more: make(chan struct{})}, exited: make(chan struct{})}
	program := filepath.Join(bin, "mamma")
	args = append([]string{"--socket", d.socket}, args...)
	if o.file > 0 {
		// The hard limit: the runtime raises the soft one to it.
		args = append([]string{"-c", `ulimit -n "$0" && exec "$@"`, itoa(o.file), program}, args...)
		program = "/bin/sh"
	}
	d.cmd = exec.Command(program, args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if o.uid != 0 {
		d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: o.uid, Gid: o.uid}}
	}
	var err error
	if o.in != nil {
		err = o.in.Start(d.cmd)
	} else {
		err = d.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.exited)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
	})
	return d
}

// start starts mamma and waits until it serves its socket.
func start(t *testing.T, o options, args ...string) *daemon {
	t.Helper()
	d := launch(t, o, args...)
	until(t, "mamma serves its socket", func() bool {
		select {
		case <-d.exited:
			t.Fatalf("mamma ended:\n%s", d.log)
		default:
		}
		c, err := net.Dial("unix", d.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return d
}

// kill ends the daemon as the kernel does when memory is short.
func (d *daemon) kill(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGKILL)
	<-d.exited
}

// stop ends it in peace.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	if status := d.wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.log)
	}
}

func (d *daemon) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.exited:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("mamma does not end\n%s", d.log)
		return -1
	}
}

func (d *daemon) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// until asks every few milliseconds whether something has come true.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !ask(); <-tick.C {
		if time.Since(begun) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// outputSize is how much of what a program prints is kept. A flood of messages is
// a fault of its own, and seen by its size.
const outputSize = 1 << 20

// output collects what a program prints and lets tests wait for parts of it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	size int           // of all that was printed
	more chan struct{} // closed and replaced at every write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.size += len(b)
	if o.text.Len() < outputSize {
		o.text.Write(b)
	}
	close(o.more)
	o.more = make(chan struct{})
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) printed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size
}

// await returns once text was printed n times.
func (o *output) await(t *testing.T, text string, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		found := strings.Count(o.text.String(), text) >= n
		more := o.more
		o.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q was not printed %d times in:\n%s", text, n, o)
		}
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // read by other users
		t.Fatal(err)
	}
	return path
}
