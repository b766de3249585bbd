package stage

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// Patience is how long a test waits for what should happen at once. It only
// decides when a failing test gives up.
const Patience = 20 * time.Second

// Process is a program that a test has started. It is killed at the test's end.
type Process struct {
	Cmd      *exec.Cmd
	Out, Log *Output // its standard output and error

	exited chan struct{}
}

// Launch starts cmd in the namespace, nil for that of the test. Where cmd writes
// to nothing yet, its output is collected. Where it is to run as another user and this
// host has none that it could become, the test is skipped.
func Launch(t testing.TB, in *testbed.Namespace, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = NewOutput()
	}
	if cmd.Stderr == nil {
		cmd.Stderr = NewOutput()
	}
	p.Out, _ = cmd.Stdout.(*Output)
	p.Log, _ = cmd.Stderr.(*Output)
	ownState(t, cmd)
	start := cmd.Start
	if in != nil {
		start = func() error { return in.Start(cmd) }
	}
	switch err := start(); {
	case err == nil:
	case errors.Is(err, syscall.EPERM) && cmd.SysProcAttr != nil && cmd.SysProcAttr.Credential != nil:
		t.Skipf("needs CAP_SETUID and a second user: %v", err)
	default:
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // ExitCode tells
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.exited
	})
	return p
}

// Exited is closed once the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the program's end and returns its exit status, -1 if a signal
// ended it.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(Patience):
		t.Fatalf("%s does not end\n%v%v", p.Cmd.Path, p.Out, p.Log)
		return -1
	}
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v: %v\n%v%v", s, err, p.Out, p.Log)
	}
}

// Kill ends the program as the kernel does when memory is short.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	<-p.exited
}

// Until asks every few milliseconds whether something has come true.
func Until(t testing.TB, what string, ask func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !ask(); <-tick.C {
		if time.Since(begun) > Patience {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// ownState gives the daemon a directory of the test's own for what survives restarts, unless it
// has one or runs as somebody who could not use it.
func ownState(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if !slices.ContainsFunc(cmd.Args, func(a string) bool { return filepath.Base(a) == "mamma" }) || cmd.SysProcAttr != nil && cmd.SysProcAttr.Credential != nil {
		return
	}
	const name = "STATE_DIRECTORY="
	if env := cmd.Environ(); !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name) }) {
		cmd.Env = append(env, name+t.TempDir())
	}
}
