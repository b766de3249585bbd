package faults

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// buildVersion builds a daemon that says it has this version.
func buildVersion(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mamma")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-X main.version="+version, "-o", path, "../../cmd/mamma")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

// handedSockets are the sockets that a service manager makes before it starts anything.
type handedSockets struct {
	names []string
	files []*os.File
}

func makeSockets(t *testing.T, dir string, names ...string) handedSockets {
	t.Helper()
	s := handedSockets{names: names}
	for _, name := range names {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		t.Cleanup(func() { _ = f.Close() })
		s.files = append(s.files, f)
	}
	return s
}

// start starts a program and hands it the sockets (sd_listen_fds(3)).
func (s handedSockets) start(t *testing.T, env []string, program string, args ...string) *stage.Process {
	t.Helper()
	// The environment must have the id of the process, so a shell sets it.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, program}, args...)...)
	cmd.Env = append(append(os.Environ(), "LISTEN_FDS="+itoa(len(s.files)), "LISTEN_FDNAMES="+strings.Join(s.names, ":")), env...)
	cmd.ExtraFiles = s.files
	return stage.Launch(t, nil, cmd)
}

// One version is stopped and the next one started, as in the upgrade of a package, while
// clients dial. No dial fails, and the new version decides about connections that were made
// to the old one's socket.
func TestUpgradeUnderLoad(t *testing.T) {
	programs := map[string]string{}
	for _, version := range []string{"v1.0.0", "v1.1.0"} {
		programs[version] = buildVersion(t, version)
	}
	dir := newDir(t)
	conf := write(t, filepath.Join(dir, "policy.conf"), loopbackConf)
	sockets := makeSockets(t, dir, "request", "control")
	d := &daemon{dir: dir, socket: filepath.Join(dir, "request")}
	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: service(t)}
	defer func() { _ = load.dialer.Daemon.Close() }()
	stop := inLoop(4, load.dial)
	// An original client has nobody else to ask. Its question may be cut off, but it does
	// not hang.
	stopOriginal := inLoop(1, func() error {
		if err := served(d.socket); errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil
	})
	for _, version := range []string{"v1.0.0", "v1.1.0", "v1.0.0", "v1.1.0"} {
		d.Process = sockets.start(t, nil, programs[version], conf)
		before := load.chosen.Load()
		stage.Until(t, "dials that "+version+" decides", func() bool { return load.chosen.Load() > before+50 })
		if status, out := mammactl(t, d, 0, 0, "--control", filepath.Join(dir, "control"), "status"); status != 0 || !strings.Contains(out, version) {
			t.Errorf("status %d, want %s:\n%s", status, version, out)
		}
		d.Signal(t, syscall.SIGTERM)
		if status := d.Wait(t); status != 0 {
			t.Errorf("%s ended with status %d\n%s", version, status, d.Log)
		}
	}
	d.Process = sockets.start(t, nil, programs["v1.1.0"], conf)
	if err := stop(); err != nil {
		t.Errorf("a dial failed: %v", err)
	}
	if err := stopOriginal(); err != nil {
		t.Errorf("an original client: %v", err)
	}
}
