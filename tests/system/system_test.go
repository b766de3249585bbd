// Package system tests the programs as they are: built, started in namespaces,
// spoken to over their sockets, stopped by signals.
package system

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testbed"
)

// bin is where the programs under test are.
var bin string

func TestMain(m *testing.M) {
	if socket := os.Getenv(dialerEnv); socket != "" {
		os.Exit(serveDials(socket, os.Stdin, os.Stdout))
	}
	_ = testbed.Enter() // New says what is missing
	os.Exit(withPrograms(m.Run))
}

// withPrograms builds the programs, as the Makefile does, and removes them afterwards.
func withPrograms(f func() int) int {
	var err error
	if bin, err = os.MkdirTemp("", "mamma-system"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(bin) }()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin+"/", "../../cmd/mamma", "../../cmd/mammactl", "../../examples/fetch")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", cmd, err, out)
		return 1
	}
	return f()
}

// patience is how long anything may take that should happen at once. It only
// decides how long a failing test waits.
const patience = 20 * time.Second

// lines collects what a program prints and lets tests wait for parts of it.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	close(l.more)
	l.more = make(chan struct{})
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns once text was printed n times.
func (l *lines) await(t *testing.T, text string, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		found := strings.Count(l.text.String(), text) >= n
		more := l.more
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q was not printed %d times in:\n%s", text, n, l)
		}
	}
}

// daemon is a running mamma.
type daemon struct {
	cmd      *exec.Cmd
	socket   string
	out, log *lines
	exited   chan struct{}
	err      error // of Wait, once exited is closed
}

// start starts mamma in the namespace, nil for that of the test, and waits until
// it has loaded its policy and serves its socket.
func start(t *testing.T, in *testbed.Namespace, args ...string) *daemon {
	t.Helper()
	return startBy(t, in, nil, args...)
}

// startBy is start by a program that runs what follows its own arguments.
func startBy(t *testing.T, in *testbed.Namespace, by []string, args ...string) *daemon {
	t.Helper()
	d := launchBy(t, in, by, args...)
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", d.socket); err == nil {
			_ = c.Close()
			return d
		}
		select {
		case <-tick.C:
		case <-d.exited:
			t.Fatalf("mamma ended: %v\n%s%s", d.err, d.out, d.log)
		case <-deadline:
			t.Fatalf("mamma does not serve %s\n%s%s", d.socket, d.out, d.log)
		}
	}
}

// launch starts mamma and does not wait for anything.
func launch(t *testing.T, in *testbed.Namespace, args ...string) *daemon {
	t.Helper()
	return launchBy(t, in, nil, args...)
}

func launchBy(t *testing.T, in *testbed.Namespace, by []string, args ...string) *daemon {
	t.Helper()
	d := &daemon{socket: filepath.Join(t.TempDir(), "mamma.sock"), out: newLines(), log: newLines(), exited: make(chan struct{})}
	for i, a := range args {
		if a == "--socket" {
			d.socket = args[i+1]
		}
	}
	argv := append(append(slices.Clone(by), filepath.Join(bin, "mamma"), "--socket", d.socket), args...)
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.log
	var err error
	if in != nil {
		err = in.Start(d.cmd)
	} else {
		err = d.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
	})
	return d
}

// wait waits for the program's end and returns its exit status.
func (d *daemon) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.exited:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("mamma does not end\n%s%s", d.out, d.log)
		return -1
	}
}

func (d *daemon) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
