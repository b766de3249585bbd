package faults

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// These are the ports of testdata/unruly.
const (
	policyPanics    = 1
	policySpins     = 2
	policyForeign   = 3
	policyConfused  = 4
	policyExits     = 5
	policyExitsWell = 6
)

// buildUnruly builds the policy that misbehaves.
func buildUnruly(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("needs gcc to build a plugin: %v", err)
	}
	path := filepath.Join(t.TempDir(), "unruly.so")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-buildmode=plugin", "-o", path, "./testdata/unruly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // whatever the umask, nobody else may write
		t.Fatal(err)
	}
	return path
}

var loopback = netip.MustParseAddr("127.0.0.1")

// to makes a request for a connection to a port.
func to(port uint16) []byte { return request(netip.AddrPortFrom(loopback, port)) }

// Whatever a policy does, it costs only its own decisions, unless it ends the process. In
// that case clients dial plainly until the service manager has started another daemon.
func TestUnrulyPlugin(t *testing.T) {
	stage.NeedsPlugins(t)
	plugin := buildUnruly(t)
	dir := newDir(t)
	text := func(block string) string {
		return strings.Replace(loopbackConf, "policy \"sample\" {\n", "policy \""+plugin+"\" {\n"+block+"\n", 1)
	}
	conf := write(t, filepath.Join(dir, "policy.conf"), text(""))
	d := start(t, options{dir: dir}, conf)
	asked := func(port uint16) {
		t.Helper()
		if a := suggestion(t, d.socket, to(port)); a != loopback {
			t.Errorf("suggested %v\n%s", a, d.Log)
		}
	}
	shown := func(want string) {
		t.Helper()
		status, out := mammactl(t, d, 0, 0, "decisions", "--json")
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, want %q in\n%.4000s", status, want, out)
		}
		for _, command := range []string{"decisions", "status", "prefixes", "policy"} {
			if status, out := mammactl(t, d, 0, 0, command); status != 0 || strings.ContainsAny(out, "\x1b\x00") {
				t.Errorf("%s: status %d\n%.1000q", command, status, out)
			}
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("%.6000s", d.Log)
		}
	}()
	reload := func(block, says string) {
		t.Helper()
		n := strings.Count(d.Log.String(), says)
		write(t, conf, text(block))
		d.Signal(t, syscall.SIGHUP)
		d.Log.Await(t, says, n+1)
	}

	for range 3 {
		asked(policyPanics)
	}
	shown("policy panicked: out of order")
	asked(policyForeign)
	shown("which was not offered")
	// A decision that cannot be sent is an error, and does not end the process.
	_, _ = connect(t, d.socket).ask(to(policyConfused))
	asked(9)
	shown("as usual")

	// A call never ends. The clients that wait get the default, and so does everybody until
	// a reload brings another instance.
	asked(policySpins)
	asked(9)
	shown("is out of service")
	reload("", "msg=reloaded")
	asked(9)
	shown("as usual")

	// The constructor panics, too. The old instance goes on, also without its file.
	reload(`new = "panics"`, "the old state keeps running")
	reload(`new = "is nothing"`, "the old state keeps running")
	asked(9)
	if err := os.Rename(plugin, plugin+".away"); err != nil {
		t.Fatal(err)
	}
	reload("", "the old state keeps running")
	asked(9)
	if err := os.Rename(plugin+".away", plugin); err != nil {
		t.Fatal(err)
	}
	reload("", "msg=reloaded")
	if status, out := mammactl(t, d, 0, 0, "set", "something"); status == 0 || !strings.Contains(out, "panicked") {
		t.Errorf("set: status %d\n%s", status, out)
	}

	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: service(t)}
	defer func() { _ = load.dialer.Daemon.Close() }()
	stop := inLoop(2, load.dial)
	more := func(what string, count interface{ Load() int64 }) {
		t.Helper()
		before := count.Load()
		stage.Until(t, what, func() bool { return count.Load() > before+20 })
	}
	for port, status := range map[uint16]int{policyExits: 3, policyExitsWell: 0} {
		more("dials that the manager decides", &load.chosen)
		if a, err := connect(t, d.socket).ask(to(port)); err == nil {
			t.Errorf("a daemon that is gone suggests %v", a)
		}
		if got := d.Wait(t); got != status {
			t.Errorf("status %d, want the policy's %d\n%s", got, status, d.Log)
		}
		more("dials without the manager", &load.plain)
		d = start(t, options{dir: dir}, conf)
	}
	more("dials that the manager decides", &load.chosen)
	if err := stop(); err != nil {
		t.Errorf("a dial failed: %v", err)
	}

	// A constructor that never returns delays other reloads only for a while, and does not
	// keep the daemon from ending.
	reload(`new = "hangs"`, "the old state keeps running")
	asked(9)
	d.stop(t)
}
