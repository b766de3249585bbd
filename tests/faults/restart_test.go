package faults

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// The daemon is killed in the middle of its work and comes back, three times. Every dial
// succeeds, none waits noticeably, and the clients use the daemon again without being told.
func TestKilledUnderLoad(t *testing.T) {
	conf := write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf)
	d := start(t, options{}, conf)
	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: service(t)}
	defer func() { _ = load.dialer.Daemon.Close() }()
	stop := inLoop(4, load.dial)
	more := func(what string, count interface{ Load() int64 }) {
		t.Helper()
		before := count.Load()
		stage.Until(t, what, func() bool { return count.Load() > before+20 })
	}
	more("dials that the manager decides", &load.chosen)
	for range 3 {
		d.Kill(t)
		more("dials without the manager", &load.plain)
		d = start(t, options{dir: d.dir}, conf)
		more("dials that the new manager decides", &load.chosen)
	}
	if err := stop(); err != nil {
		t.Errorf("a dial failed: %v", err)
	}
	// A dial waits 50 ms for the manager. A busy machine adds the rest.
	if slowest := time.Duration(load.slowest.Load()); slowest > 2*time.Second {
		t.Errorf("the slowest dial took %v", slowest)
	}
	d.stop(t)
}

// A daemon that is stopped (as by a debugger) accepts connections and does not answer. Each
// client waits once, and then dials plainly.
func TestFrozenUnderLoad(t *testing.T) {
	d := start(t, options{}, write(t, filepath.Join(t.TempDir(), "policy.conf"), loopbackConf))
	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: service(t)}
	defer func() { _ = load.dialer.Daemon.Close() }()
	stop := inLoop(2, load.dial)
	stage.Until(t, "dials that the manager decides", func() bool { return load.chosen.Load() > 20 })
	d.Signal(t, syscall.SIGSTOP)
	before := load.plain.Load()
	stage.Until(t, "dials without the manager", func() bool { return load.plain.Load() > before+100 })
	d.Signal(t, syscall.SIGCONT)
	before = load.chosen.Load()
	stage.Until(t, "the manager is asked again", func() bool { return load.chosen.Load() > before+20 })
	if err := stop(); err != nil {
		t.Errorf("a dial failed: %v", err)
	}
}

// Ten reloads a second, every other one of a broken file, cost nobody an answer. Everybody
// sees only what one of the valid files says.
func TestReloadsUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.conf")
	d := start(t, options{}, write(t, path, loopbackConf))
	stop := inLoop(3, func() error {
		l, err := open(d.socket)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		for range 50 {
			if a, err := l.ask(toLoopback); err != nil || a != netip.MustParseAddr("127.0.0.1") {
				return fmt.Errorf("suggested %v, %w", a, err)
			}
		}
		return nil
	})
	good := []string{
		loopbackConf,
		strings.Replace(loopbackConf, `"sample"`, `"intents"`, 1),
		loopbackConf + "interface \"none*\" {\n  cost = \"metered\"\n}\n",
	}
	bad := []string{
		"", // replaced by a directory below
		strings.Replace(loopbackConf, "default", "defualt", 1),
		strings.Replace(loopbackConf, "sample", "/no/such/policy.so", 1),
		loopbackConf[:len(loopbackConf)/2],
		strings.Repeat("{", 100_000),
		"\x00\xff\xfe",
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	reloaded, refused := 0, 0
	for i := range 24 {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		switch {
		case i%2 == 0:
			write(t, path, good[i/2%len(good)])
		case bad[i/2%len(bad)] == "":
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		default:
			write(t, path, bad[i/2%len(bad)])
		}
		d.Signal(t, syscall.SIGHUP)
		if i%2 == 0 {
			reloaded++
			d.Log.Await(t, "msg=reloaded", reloaded)
		} else {
			refused++
			d.Log.Await(t, "the old state keeps running", refused)
		}
		<-tick.C
	}
	if err := stop(); err != nil {
		t.Errorf("%v\n%s", err, d.Log)
	}
}

// A file that has gone, or that may not be read, leaves the old state as it is.
func TestReloadOfUnreadableFile(t *testing.T) {
	const user = 4711 // root may read everything
	dir := newDir(t)
	if err := os.Chown(dir, user, user); err != nil {
		t.Skipf("needs CAP_CHOWN and a second user: %v", err)
	}
	path := write(t, filepath.Join(dir, "policy.conf"), loopbackConf)
	d := start(t, options{dir: dir, uid: user}, path)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	d.Signal(t, syscall.SIGHUP)
	d.Log.Await(t, "permission denied", 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d.Signal(t, syscall.SIGHUP)
	d.Log.Await(t, "no such file", 1)
	if got := suggestion(t, d.socket, toLoopback); got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("suggested %v", got)
	}
}
