package faults

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// Without free descriptors, new clients wait, and clients that are connected are served.
// Once there are descriptors again, everybody is served. The log does not fill up
// meanwhile.
func TestOutOfDescriptors(t *testing.T) {
	const limit = 64
	d := start(t, options{}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	// The daemon has begun with more descriptors, so it does not refuse clients in time.
	if err := unix.Prlimit(d.Cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	served := connect(t, d.socket)
	if _, err := served.ask(toLoopback); err != nil {
		t.Fatal(err)
	}
	var hoard []net.Conn
	for range limit {
		c, err := net.Dial("unix", d.socket)
		if err != nil {
			break // the queue is full
		}
		hoard = append(hoard, c)
	}
	d.Log.Await(t, "no client can be accepted for now", 1)
	before := d.Log.Printed()
	for range 100 {
		if a, err := served.ask(toLoopback); err != nil || a != netip.MustParseAddr("127.0.0.1") {
			t.Fatalf("suggested %v, %v", a, err)
		}
	}
	if grown := d.Log.Printed() - before; grown > 10<<10 {
		t.Errorf("%d bytes were logged meanwhile:\n%s", grown, d.Log)
	}
	for _, c := range hoard {
		_ = c.Close()
	}
	if a := suggestion(t, d.socket, toLoopback); a != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("afterwards suggested %v", a)
	}
}

// If there are few descriptors, clients get a part of them: a client that is served has
// names resolved, other users are served, and the control socket answers.
func TestFewDescriptors(t *testing.T) {
	bed, _ := oneNetwork(t)
	d := start(t, options{in: bed.Client, dir: newDir(t), file: 128}, write(t, filepath.Join(t.TempDir(), "policy.conf"), soakConf))
	hog := startRole(t, userA, userA, "hog", d.socket, "500")
	if kept := hog.line(t); kept == "0" {
		t.Errorf("%s connections are kept", kept)
	}
	if got := startRole(t, userB, userB, "ask", d.socket).line(t); got != "127.0.0.1" {
		t.Errorf("another user is told %q", got)
	}
	for range 50 {
		if err := served(d.socket); err != nil {
			t.Fatal(err)
		}
		if _, err := d.get("/v1/status"); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(d.Log.String(), "no client can be accepted") || strings.Contains(d.Log.String(), "too many open files") {
		t.Errorf("the daemon has no descriptors left:\n%s", d.Log)
	}
	hog.end(t)
}

// tmpfs mounts a file system of the given size.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		required.Lacking(t, "needs CAP_SYS_ADMIN to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A full disk costs log lines, and nothing else.
func TestFullDisk(t *testing.T) {
	bed, _ := oneNetwork(t) // of loopback nothing is logged
	disk := tmpfs(t, "64k")
	ballast := filepath.Join(disk, "ballast")
	fill := func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
	}
	fill()
	log := func(name string) string { return filepath.Join(disk, name) }
	conf := strings.Replace(networksConf, "{\n", "{\n  logfile = \""+log("policy.csv")+"\"\n", 1) +
		"logs {\n  prefixes = \"" + log("prefixes.csv") + "\"\n  interfaces = \"" + log("interfaces.csv") + "\"\n}\n" +
		"decisions {\n  record = \"" + log("decisions.jsonl") + "\"\n}\nstate_dir = \"" + log("state") + "\"\n"
	d := start(t, options{in: bed.Client}, write(t, filepath.Join(t.TempDir(), "policy.conf"), conf))
	l := connect(t, d.socket)
	ask := func() {
		t.Helper()
		if a, err := l.ask(toService); err != nil || a != bed.Networks[0].Client4 {
			t.Fatalf("suggested %v, %v", a, err)
		}
	}
	for range 200 {
		ask()
	}
	for _, name := range []string{"policy.csv", "prefixes.csv", "interfaces.csv", "decisions.jsonl"} {
		d.Log.Await(t, log(name), 1)
	}
	if n := strings.Count(d.Log.String(), "no space left on device"); n > 8 {
		t.Errorf("a full disk is logged %d times:\n%s", n, d.Log)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	stage.Until(t, "all is written again", func() bool {
		ask()
		for _, name := range []string{"policy.csv", "prefixes.csv", "interfaces.csv", "decisions.jsonl"} {
			if info, err := os.Stat(log(name)); err != nil || info.Size() == 0 {
				return false
			}
		}
		return true
	})
	d.stop(t)
}

// If nothing can be made in the run directory, the daemon ends with an error that says why.
// If the directory becomes read-only later, it goes on, because the sockets are there.
func TestReadOnlyRunDirectory(t *testing.T) {
	run := tmpfs(t, "64k")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", run, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf)
	remount(unix.MS_RDONLY)
	d := launch(t, options{dir: run}, conf)
	if status := d.Wait(t); status != 1 || !strings.Contains(d.Log.String(), "read-only file system") {
		t.Errorf("status %d:\n%s", status, d.Log)
	}
	remount(0)
	d = start(t, options{dir: run}, conf)
	remount(unix.MS_RDONLY)
	if a := suggestion(t, d.socket, toLoopback); a != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("suggested %v", a)
	}
	// The daemon says that its sockets cannot be removed, and ends nevertheless.
	d.Signal(t, unix.SIGTERM)
	if status := d.Wait(t); status != 1 || !strings.Contains(d.Log.String(), "read-only file system") {
		t.Errorf("status %d:\n%s", status, d.Log)
	}
}
