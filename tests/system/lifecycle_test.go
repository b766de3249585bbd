package system

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

const loopbackConf = `policy "sample" {
}
prefix "127.0.0.0/8" {
  default = true
}
`

// connectRequest returns a request for a connection to loopback, the only network that
// every host has.
func connectRequest(t *testing.T) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../internal/wire/testdata/captures/connect-v4-req.bin")
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	if err := wire.Decode(raw, &m); err != nil {
		t.Fatal(err)
	}
	m.Context.Remote = wire.SockAddr{AddrPort: loopback}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSignals(t *testing.T) {
	conf := write(t, "policy.conf", loopbackConf)
	d := start(t, nil, conf)
	suggestion := func() string { return exchange(t, d.socket, connectRequest(t)).Context.BindSuggested.AddrPort.String() }
	if got := suggestion(); got != "127.0.0.1:0" {
		t.Fatalf("suggested %v", got)
	}

	// A file with an error changes nothing. The message says where the error is.
	if err := os.WriteFile(conf, []byte(strings.Replace(loopbackConf, "default", "defualt", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Signal(t, syscall.SIGHUP)
	d.Log.Await(t, "not reloaded", 1)
	d.Log.Await(t, `did you mean \"default\"?`, 1)
	if got := suggestion(); got != "127.0.0.1:0" {
		t.Errorf("after a failed reload: suggested %v", got)
	}

	// A valid file takes effect: there is no default any more.
	if err := os.WriteFile(conf, []byte(strings.Replace(loopbackConf, "default = true", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Signal(t, syscall.SIGHUP)
	d.Log.Await(t, "msg=reloaded", 1)
	if got := suggestion(); got != "invalid AddrPort" {
		t.Errorf("after a reload: suggested %v", got)
	}

	before := len(d.Out.String())
	d.Signal(t, syscall.SIGUSR1)
	d.Out.Await(t, "127.0.0.1", strings.Count(d.Out.String()[:before], "127.0.0.1")+1)

	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
	if _, err := os.Lstat(d.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestSocketInTheWay(t *testing.T) {
	conf := write(t, "policy.conf", loopbackConf)
	first := start(t, nil, conf)

	// A daemon that is alive is left alone.
	second := launch(t, nil, "--socket", first.socket, conf)
	if status := second.Wait(t); status != 1 {
		t.Errorf("exit status %d, want 1", status)
	}
	if want := "another mamma (pid " + strconv.Itoa(first.Cmd.Process.Pid) + ") answers there; stop it first, or use --socket"; !strings.Contains(second.Log.String(), want) {
		t.Errorf("it says %q, want %q", second.Log, want)
	}
	exchange(t, first.socket, connectRequest(t))

	// A daemon that was killed leaves its socket behind, and the next one replaces it.
	first.Signal(t, syscall.SIGKILL)
	first.Wait(t)
	if _, err := os.Lstat(first.socket); err != nil {
		t.Fatalf("the killed daemon's socket: %v", err)
	}
	third := start(t, nil, "--socket", first.socket, conf)
	exchange(t, third.socket, connectRequest(t))

	// Any other file is left alone.
	file := write(t, "precious", "data")
	fourth := launch(t, nil, "--socket", file, conf)
	if status := fourth.Wait(t); status != 1 || !strings.Contains(fourth.Log.String(), "it is left alone") {
		t.Errorf("exit status %d: %s", status, fourth.Log)
	}
	if b, _ := os.ReadFile(file); string(b) != "data" {
		t.Errorf("the file now holds %q", b)
	}
}

// Programs built against the original library find a second socket and the FIFO at the
// paths that they expect.
func TestCompatibilityPaths(t *testing.T) {
	dir := t.TempDir()
	socket, fifo := filepath.Join(dir, "muacc"), filepath.Join(dir, "mam_config_fifo")
	conf := write(t, "policy.conf", loopbackConf+`
compat_socket = "`+socket+`"
compat_fifo   = "`+fifo+`"
`)
	d := start(t, nil, conf)
	if got := exchange(t, socket, connectRequest(t)).Context.BindSuggested; !got.IsValid() {
		t.Error("no suggestion on the compatibility socket")
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("10.0.0.1\n"); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	d.Log.Await(t, "policy sample takes no configuration at run time", 1)
	d.Signal(t, syscall.SIGINT)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The service manager is told when the daemon is ready.
func TestReadiness(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	d := start(t, nil, write(t, "policy.conf", loopbackConf))
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("the service manager was told %q, %v", b[:n], err)
	}
	exchange(t, d.socket, connectRequest(t))
}

var loopback = netip.MustParseAddrPort("127.0.0.1:9")
