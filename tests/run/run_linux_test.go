// Package run tests that "mammactl run" places the connections of programs that are not
// ours. mamma and the programs run on a host with two networks, and the server sees from
// which network they come.
package run

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// bin is the directory of the programs under test.
var bin string

func TestMain(m *testing.M) {
	_ = testbed.Enter(stage.Fetch, stage.FetchModule("testdata/quicfetch")) // New says what is missing
	os.Exit(stage.WithPrograms(func(dir string) int {
		bin = dir
		if err := stage.BuildStatic(bin, "./testdata/dialer"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}, "../../cmd/mamma", "../../cmd/mammactl", "../../cmd/mammactl-run"))
}

// patience is the time limit for what should happen at once.
const patience = 60 * time.Second

// policy prefers wwan0 for large transfers.
const policy = stage.LargeByWWAN

// user is the user who runs the programs, without any rights.
type user uint32

const (
	root   user = 0
	nobody user = 65534
)

func (u user) String() string {
	if u == root {
		return "root"
	}
	return "nobody"
}

// world is a host with two networks and mamma.
type world struct {
	*testbed.Bed
	dir    string
	daemon *stage.Daemon

	mu        sync.Mutex
	datagrams []netip.AddrPort // where those that the service got are from
	streams   []netip.AddrPort
	arrived   chan struct{} // closed and replaced at each of them
}

// At these ports, the service notes from where something comes, and answers with that.
const (
	streamPort   = 7000
	datagramPort = 7001
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		Bed: testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}}),
		dir: folder(t), arrived: make(chan struct{}),
	}
	for _, host := range []string{testbed.ServiceAddr4.String(), testbed.ServiceAddr6.String()} {
		l, err := w.Service.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(streamPort)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go w.accept(l)
		p, err := w.Service.ListenPacket("udp", net.JoinHostPort(host, fmt.Sprint(datagramPort)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		go w.receive(p)
	}
	w.startMamma(t)
	return w
}

// folder makes a folder that everybody may read.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "run-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		t.Fatal(err)
	}
	return dir
}

func (w *world) startMamma(t testing.TB) {
	t.Helper()
	var err error
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "mamma", policy); err != nil {
		t.Fatal(err)
	}
}

func (w *world) noted(list *[]netip.AddrPort, from net.Addr) netip.AddrPort {
	a, _ := netip.ParseAddrPort(from.String())
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, a)
	close(w.arrived)
	w.arrived = make(chan struct{})
	return a
}

func (w *world) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintln(c, w.noted(&w.streams, c.RemoteAddr()).Addr())
		_ = c.Close()
	}
}

func (w *world) receive(p net.PacketConn) {
	b := make([]byte, 1500)
	for {
		_, from, err := p.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = p.WriteTo([]byte(w.noted(&w.datagrams, from).Addr().String()+"\n"), from)
	}
}

// await waits until f is true of what has arrived.
func (w *world) await(t *testing.T, f func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		ok, more := f(), w.arrived
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("what was waited for has not arrived: streams from %v, datagrams from %v", w.streams, w.datagrams)
		}
	}
}

// command makes a "mammactl run" with arguments.
func (w *world) command(u user, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "mammactl"), append([]string{"run", "--socket", w.daemon.Socket}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "TMPDIR=" + os.TempDir()}
	if u != root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}}
	}
	return cmd
}

// output runs a command to its end and returns what it has printed.
func (w *world) output(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := w.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	defer watchdog.Stop()
	_ = cmd.Wait()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// intents are the intents for which the policy chooses a network, by network.
var intents = map[string]string{"wlan0": "category=query", "wwan0": "category=bulktransfer"}

// require skips the test if a program is not installed, and names it.
func require(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			testbed.SkipOrFail(t, fmt.Errorf("%w: needs the program %s", testbed.ErrUnavailable, p))
		}
	}
}

// users lists the users as which the tests of programs run.
func users() []user {
	if os.Getuid() != 0 || !inInitialUserNamespace() {
		return []user{root} // which is nobody else, outside of this user namespace
	}
	return []user{nobody, root}
}

func inInitialUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}
