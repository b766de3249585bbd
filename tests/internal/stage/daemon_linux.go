package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

const (
	startPatience = 20 * time.Second // until the socket answers, on a busy machine
	stopPatience  = 5 * time.Second  // until the daemon is killed
	startPause    = 5 * time.Millisecond
)

// Fetch loads the modules of others that mamma's programs are made of into the module
// cache. Programs call it before testbed.Enter, because no module can be loaded in
// there. If Fetch fails, it says so, and the build will say what is missing.
func Fetch() { fetch("", "github.com/socket-intents/mamma/cmd/...") }

// FetchModule does the same for a program that is a module of its own, in dir.
func FetchModule(dir string) func() { return func() { fetch(dir, ".") } }

func fetch(dir, packages string) {
	cmd := exec.Command("go", "list", "-deps", packages)
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", cmd, err, &log)
	}
}

// NeedsPlugins skips a test that has mamma open a plugin where mamma opens none: in a
// user namespace of an ordinary user's, the directories above every file are nobody's.
func NeedsPlugins(t testbed.TB) {
	t.Helper()
	info, err := os.Stat("/")
	if err != nil {
		t.Fatalf("%v", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		t.Skipf("needs root's directories to be root's: mamma opens no plugin in the user namespace of an ordinary user")
	}
}

// Build builds the daemon into dir and returns the program's path. It works
// anywhere inside the module.
func Build(ctx context.Context, dir string) (string, error) { return BuildProgram(ctx, dir, "mamma") }

// BuildProgram builds another of the programs as Build does.
func BuildProgram(ctx context.Context, dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "github.com/socket-intents/mamma/cmd/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return program, nil
}

// Daemon is a running mamma.
type Daemon struct {
	Socket string

	cmd    *exec.Cmd
	output *tail
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// StartDaemon starts the program in the namespace with a configuration in HCL,
// and returns once it answers. Its files are put into a folder of that name below
// dir. It is killed when the test bed is closed; Stop ends it in peace.
func StartDaemon(ctx context.Context, in *testbed.Namespace, program, dir, name, config string) (*Daemon, error) {
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "policy.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	d := &Daemon{Socket: filepath.Join(dir, "mamma.sock"), output: &tail{}, exited: make(chan struct{})}
	d.cmd = exec.Command(program, "--socket", d.Socket, file)
	d.cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+dir) // what one daemon learns is no other's
	d.cmd.Stdout, d.cmd.Stderr = d.output, d.output
	if err := in.Start(d.cmd); err != nil {
		return nil, fmt.Errorf("starting the daemon: %w", err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	if err := d.await(ctx); err != nil {
		_ = d.Stop() // the first error counts
		return nil, err
	}
	return d, nil
}

func (d *Daemon) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(startPause)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", d.Socket); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-d.exited:
			return fmt.Errorf("the daemon ended with status %d\n%s", d.cmd.ProcessState.ExitCode(), d.output)
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer: %w\n%s", ctx.Err(), d.output)
		}
	}
}

// Stop ends the daemon and waits for it.
func (d *Daemon) Stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-d.exited:
		return d.err
	case <-time.After(stopPatience):
		_ = d.cmd.Process.Kill()
		<-d.exited
		return errors.New("the daemon had to be killed")
	}
}

// Output is the last of what the daemon printed and logged.
func (d *Daemon) Output() string { return d.output.String() }

// tailSize is how much of a program's output is kept for error messages.
const tailSize = 16 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
