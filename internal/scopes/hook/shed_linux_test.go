package hook

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/groupbed"
	"github.com/socket-intents/mamma/internal/testing/required"
)

// shedEnv makes this program shed its rights in the control group that the variable names.
const shedEnv = "MAMMA_HOOK_SHED"

// shed loads, attaches, sheds, and does everything with the table that can come after that.
func shed(group string) error {
	wait := make(chan struct{})
	defer close(wait)
	for range 4 { // further threads
		go func() { runtime.LockOSThread(); <-wait }()
	}
	t, err := Load()
	if err != nil {
		return err
	}
	defer t.Close()
	a, err := t.Attach(group, "", true)
	if err != nil {
		return err
	}
	measures := a.Measures()
	if err := t.Shed(); err != nil {
		return err
	}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < 5 {
		return fmt.Errorf("%d threads: %w", len(tasks), err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			if want := fmt.Sprintf("%s:\t%016x\n", set, uint64(1)<<unix.CAP_NET_ADMIN); !strings.Contains(string(text), want) {
				return fmt.Errorf("%s is not %q:\n%s", path, want, text)
			}
		}
	}
	if _, err := Load(); !errors.Is(err, ErrRights) {
		return fmt.Errorf("loaded again: %w", err)
	}
	m := Member{Class: 1}
	use := func() error {
		return errors.Join(t.Hold(time.Minute), t.SetGroup(1, 1, m.Form()), t.SetMember(m, 1, 0, nil), t.SetUsual(Usual{Scope: 1, Protocol: TCP}, Answer{Kind: Leave}))
	}
	if err := errors.Join(use(), t.Flows(func(*Flow) {}), a.Detach(), t.Reset()); err != nil {
		return err
	}
	for _, name := range []string{"groups", "members", "usual"} {
		var k []byte
		if err := t.maps[name].NextKey(nil, &k); err == nil {
			return fmt.Errorf("after Reset, something is left in %s", name)
		}
	}
	a, err = t.Attach(group, "", true)
	if err != nil {
		return err
	}
	if a.Measures() != measures || len(a.Hooks()) < 2 {
		return fmt.Errorf("attached again: %v, measures %v", a.Hooks(), a.Measures())
	}
	return errors.Join(use(), a.Detach())
}

// A process without CAP_SYS_ADMIN gives CAP_BPF and CAP_PERFMON up in all of its threads, and can
// go on to use the table, and attach it again. Root gives nothing up.
func TestShed(t *testing.T) {
	if effective, known := capabilities(); os.Geteuid() != 0 || !known || missingRights(effective) != "" {
		t.Skip("needs root with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, to become a user with these")
	}
	g := groupbed.New(t)
	if err := os.Chmod(g.Path, 0o755); err != nil { //nolint:gosec // as below /sys/fs/cgroup of any host
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), shedEnv+"="+g.Path)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
		AmbientCaps: []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN},
	}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "needs them all the time") {
		required.Lacking(t, "needs a kernel that writes to maps without CAP_BPF (Linux 5.19): %s", out)
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	table, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if err := table.Shed(); !errors.Is(err, ErrNotShed) {
		t.Errorf("root: %v", err)
	}
	if effective, _ := capabilities(); missingRights(effective) != "" {
		t.Error("root has lost its capabilities")
	}
}
