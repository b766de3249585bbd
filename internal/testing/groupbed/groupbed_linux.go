// Package groupbed makes control groups for tests, and BPF file systems that no other
// process sees.
package groupbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/required"
)

// TB is the part of testing.TB that this package needs.
type TB interface {
	Helper()
	Cleanup(func())
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A Group is a control group of a test. When the test ends, the group is removed with
// all groups below, and processes in them are killed.
type Group struct {
	tb   TB
	Path string
}

// New makes a control group below the mount point of cgroup2. It skips the test if that
// is not possible.
func New(tb TB) *Group {
	tb.Helper()
	mount, err := mountPoint()
	if err != nil {
		required.Lacking(tb, "control groups: %v", err)
	}
	path, err := os.MkdirTemp(mount, "mamma-test-")
	if err != nil {
		required.Lacking(tb, "control groups: %v", err)
	}
	g := &Group{tb, path}
	tb.Cleanup(g.remove)
	return g
}

// Sub makes a control group below g.
func (g *Group) Sub(name string) *Group {
	g.tb.Helper()
	path := filepath.Join(g.Path, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		g.tb.Fatalf("%v", err)
	}
	return &Group{g.tb, path}
}

// Put lets cmd start in g.
func (g *Group) Put(cmd *exec.Cmd) {
	g.tb.Helper()
	f, err := os.Open(g.Path)
	if err != nil {
		g.tb.Fatalf("%v", err)
	}
	g.tb.Cleanup(func() { _ = f.Close() })
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
}

// remove removes g and all groups below. It tries again for a while, because killed
// processes take a moment to go.
func (g *Group) remove() {
	_ = os.WriteFile(filepath.Join(g.Path, "cgroup.kill"), []byte("1"), 0)
	for range 1000 {
		var dirs []string
		_ = filepath.WalkDir(g.Path, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = os.Remove(dirs[i])
		}
		if _, err := os.Stat(g.Path); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	g.tb.Fatalf("control group %s cannot be removed", g.Path)
}

// BPF makes a BPF file system that ends with the test. It returns a path that only this
// process can use, and the file of the mount. A process that inherits the file finds
// the file system below its own /proc/self/fd.
func BPF(tb TB) (path string, f *os.File) {
	tb.Helper()
	fd, err := mountBPF()
	if err != nil {
		required.Lacking(tb, "BPF file system: %v", err)
	}
	f = os.NewFile(uintptr(fd), "bpf")
	tb.Cleanup(func() { _ = f.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", fd), f
}

func mountBPF() (int, error) {
	fs, err := unix.Fsopen("bpf", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs) //nolint:errcheck // nothing is in it
	if err := unix.FsconfigCreate(fs); err != nil {
		return 0, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	return fd, os.NewSyscallError("fsmount", err)
}

func mountPoint() (string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("cgroup2 is not mounted")
}
