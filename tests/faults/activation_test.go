package faults

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The service manager makes the sockets, keeps them while the daemon is killed
// and started anew, and hears that it is alive: a client that asks meanwhile
// waits and is answered.
func TestActivation(t *testing.T) {
	dir := newDir(t)
	conf := write(t, filepath.Join(dir, "policy.conf"), loopbackConf)
	names := []string{"control", "request", "compat"}
	var files []*os.File
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
		defer func() { _ = f.Close() }()
		files = append(files, f)
	}
	notify := filepath.Join(dir, "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heard.Close() }()
	startHanded := func() *exec.Cmd {
		// The process id must be known to the process, hence the shell.
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, filepath.Join(bin, "mamma"), conf)
		cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES="+strings.Join(names, ":"), "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=20000")
		cmd.ExtraFiles = files
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	question := func(name string) <-chan netip.Addr {
		answer := make(chan netip.Addr, 1)
		l := connect(t, filepath.Join(dir, name))
		go func() {
			a, err := l.ask(toLoopback)
			if err != nil {
				t.Error(err)
			}
			answer <- a
		}()
		return answer
	}
	early := []<-chan netip.Addr{question("request"), question("compat")}
	var cmd *exec.Cmd
	for range 2 {
		cmd = startHanded()
		for _, answer := range early {
			if a := <-answer; a != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("suggested %v", a)
			}
		}
		_ = heard.SetReadDeadline(time.Now().Add(stage.Patience))
		for ready, alive := false, 0; !ready || alive < 3; {
			b := make([]byte, 100)
			n, err := heard.Read(b)
			if err != nil {
				t.Fatalf("ready %v, alive %d times: %v", ready, alive, err)
			}
			switch string(b[:n]) {
			case "READY=1":
				ready = true
			case "WATCHDOG=1":
				alive++
			}
		}
		if status, out := mammactl(t, &daemon{dir: dir}, 0, 0, "--control", filepath.Join(dir, "control"), "prefixes"); status != 0 || !strings.Contains(out, "127.0.0.0/8") {
			t.Errorf("status %d:\n%s", status, out)
		}
		if cmd.Process.Signal(syscall.SIGKILL) == nil {
			_ = cmd.Wait()
		}
		early = []<-chan netip.Addr{question("compat"), question("request")} // of the next one
	}
	cmd = startHanded()
	for _, answer := range early {
		<-answer
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Errorf("the service manager's socket: %v", err)
		}
	}
}
