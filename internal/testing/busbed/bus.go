// Package busbed starts private message buses (D-Bus) for tests.
package busbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Anybody is a bus policy that lets everybody do everything. With it a test shows that
// our own checks suffice, whatever the policy of a real bus forbids.
const Anybody = `<policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>`

// Usual is a policy like that of a system bus: nobody may own a name, and calls pass
// only to names that permit them.
const Usual = `<policy context="default">
    <allow user="*"/><deny own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>`

const config = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  %s
</busconfig>
`

// Bus is a running dbus-daemon.
type Bus struct {
	Path string // of the socket

	rules string
	cmd   *exec.Cmd
	dir   string
}

// Start starts a bus with rules in its configuration. The bus ends with the test. The
// test is skipped if there is no dbus-daemon.
func Start(t *testing.T, rules string) *Bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("needs dbus-daemon: ", err)
	}
	dir, err := os.MkdirTemp("", "bus") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{Path: filepath.Join(dir, "s"), dir: dir, rules: rules}
	t.Cleanup(func() {
		b.Stop(t)
		_ = os.RemoveAll(dir)
	})
	b.Restart(t)
	return b
}

// Restart starts the bus after Stop, at the same path.
func (b *Bus) Restart(t *testing.T) {
	t.Helper()
	conf := filepath.Join(b.dir, "conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, config, b.Path, b.rules), 0o600); err != nil {
		t.Fatal(err)
	}
	b.cmd = exec.Command("dbus-daemon", "--config-file="+conf, "--nofork", "--nopidfile", "--print-address=1") //nolint:gosec // of this test
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // if the thread ended, the bus would get the signal
	defer runtime.UnlockOSThread()
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 1)
	if _, err := out.Read(line); err != nil { // it has printed its address, so it listens
		t.Fatal(err)
	}
}

// Stop ends the bus.
func (b *Bus) Stop(t *testing.T) {
	t.Helper()
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	_ = os.Remove(b.Path)
	b.cmd = nil
}

// Connect connects to the bus. The connection is closed at the end of the test.
func (b *Bus) Connect(t *testing.T) *dbus.Conn {
	t.Helper()
	c, err := dbus.Connect("unix:path=" + b.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
