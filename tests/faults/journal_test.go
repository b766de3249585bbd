package faults

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// journal makes a stream as journald gives it to a service for its output. It returns our
// end and the service's.
func journal(t *testing.T) (ours net.Conn, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "journal")
	file := os.NewFile(uintptr(fds[0]), "journal")
	defer func() { _ = file.Close() }()
	if ours, err = net.FileConn(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
	})
	return ours, theirs
}

// startWithJournal starts mamma with its output on that stream.
func startWithJournal(t *testing.T, out *os.File, conf string) *daemon {
	t.Helper()
	dir := newDir(t)
	d := &daemon{dir: dir, socket: filepath.Join(dir, "mamma.sock")}
	cmd := exec.Command(filepath.Join(bin, "mamma"), "--socket", d.socket, conf)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "JOURNAL_STREAM=8:1")
	d.Process = stage.Launch(t, nil, cmd)
	stage.Until(t, "mamma serves its socket", func() bool { return served(d.socket) == nil })
	return d
}

// reloads makes the daemon read a valid file, and checks that this has an effect. Then it
// makes the daemon read an invalid one, which leads to a message.
func (d *daemon) reloads(t *testing.T, conf string) {
	t.Helper()
	since := func() string {
		status, out := mammactl(t, d, 0, 0, "status", "--json")
		if status != 0 {
			t.Fatalf("status %d\n%s", status, out)
		}
		_, after, _ := strings.Cut(out, `"since": "`)
		return after[:min(len(after), 30)]
	}
	for range 3 {
		before := since()
		write(t, conf, loopbackConf)
		d.Signal(t, syscall.SIGHUP)
		stage.Until(t, "it is reloaded", func() bool { return since() != before })
	}
	write(t, conf, strings.Replace(loopbackConf, "default", "defualt", 1))
	d.Signal(t, syscall.SIGHUP)
	stage.Until(t, "the mistake is found", func() bool {
		_, out := mammactl(t, d, 0, 0, "status", "--json")
		return strings.Contains(out, "defualt")
	})
}

// If the journal goes away while the daemon runs, messages are lost, and nothing else.
func TestJournalGone(t *testing.T) {
	ours, theirs := journal(t)
	conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf)
	d := startWithJournal(t, theirs, conf)
	_ = theirs.Close()
	_ = ours.Close()
	d.reloads(t, conf)
	d.Signal(t, syscall.SIGUSR1) // prints
	if err := served(d.socket); err != nil {
		t.Error(err)
	}
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// A journal that hangs does not hang the daemon: it answers requests, reads files, and ends
// in order. Messages without room are counted.
func TestJournalHangs(t *testing.T) {
	ours, theirs := journal(t)
	if err := unix.SetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
		t.Fatal(err)
	}
	conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf)
	d := startWithJournal(t, theirs, conf)
	_ = theirs.Close()
	for range 200 { // more than the socket takes
		d.Signal(t, syscall.SIGUSR1)
	}
	for range 20 {
		d.reloads(t, conf)
	}
	if err := served(d.socket); err != nil {
		t.Error(err)
	}
	// The process may end only after it has waited for the journal for a moment.
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	var unread [4096]byte
	if n, err := ours.Read(unread[:]); err != nil || !strings.Contains(string(unread[:n]), "Policy module") {
		t.Errorf("the journal holds %q, %v", unread[:n], err)
	}
}

// The daemon serves even if standard output and error are closed from the beginning, or go
// to a full disk.
func TestNoOutputAtAll(t *testing.T) {
	conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf)
	for name, redirection := range map[string]string{"closed": ">&- 2>&-", "full": ">/dev/full 2>/dev/full"} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			socket := filepath.Join(dir, "mamma.sock")
			d := &daemon{dir: dir, socket: socket}
			d.Process = stage.Launch(t, nil, exec.Command("/bin/sh", "-c", `exec "$0" "$@" `+redirection, filepath.Join(bin, "mamma"), "--socket", socket, conf))
			stage.Until(t, "mamma serves its socket", func() bool { return served(socket) == nil })
			d.reloads(t, conf)
			write(t, conf, loopbackConf)
			d.Signal(t, syscall.SIGTERM)
			if status := d.Wait(t); status != 0 {
				t.Errorf("exit status %s", strconv.Itoa(status))
			}
		})
	}
}
