package proxy

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// A client that had no name when it was asked is not asked again for a while. No other
// client is taken for it.
func TestNameless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		callers := map[string]rules.Caller{
			"127.0.0.1:1": {Known: true, UID: 1000, Executable: "/usr/bin/curl"},
			"127.0.0.1:2": {Known: true, UID: 1000, Executable: "/usr/bin/wget"},
			"127.0.0.1:3": {Known: true, UID: 1001, Executable: "/usr/bin/curl"},
			"127.0.0.1:4": {}, // unknown
			"127.0.0.1:5": {}, // another one
			"127.0.0.1:6": {Known: true, UID: 1000, PID: 7, Executable: "/usr/bin/connect-proxy"},
			"192.0.2.1:1": {Elsewhere: true},
			"192.0.2.1:2": {Elsewhere: true},
			"192.0.2.2:1": {Elsewhere: true},
		}
		n := newNameless(slog.New(slog.DiscardHandler), func(r *socks.Request) rules.Caller { return callers[r.Client.String()] })
		n.offersBlindly = func(pid int, _ netip.AddrPort) bool { return pid == 7 }
		request := func(client string) *socks.Request { return &socks.Request{Client: netip.MustParseAddrPort(client)} }
		check := func(when string, want ...string) {
			t.Helper()
			nameless := map[string]bool{"127.0.0.1:6": true}
			for _, w := range want {
				nameless[w] = true
			}
			for client := range callers {
				if got := n.is(request(client)); got != nameless[client] {
					t.Errorf("%s: %s: %v", when, client, got)
				}
			}
		}
		check("at first")
		for _, client := range []string{"127.0.0.1:1", "127.0.0.1:4", "192.0.2.1:1"} {
			n.note(request(client))
		}
		check("then", "127.0.0.1:1", "192.0.2.1:1", "192.0.2.1:2")
		time.Sleep(namelessFor)
		check("after a while")
		for i := range 3 * maxNameless {
			n.note(&socks.Request{Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1)})
		}
		if len(n.seen) > maxNameless {
			t.Errorf("%d are remembered", len(n.seen))
		}
	})
}

// Programs are recognised by the files that they have mapped, and by their arguments and
// environment.
func TestOffersBlindly(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat to be installed")
	}
	b, err := os.ReadFile(cat) //nolint:gosec // a program
	if err != nil {
		t.Fatal(err)
	}
	connect := filepath.Join(t.TempDir(), "connect-proxy")
	if err := os.WriteFile(connect, b, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	library, _ := filepath.Glob("/usr/lib/*/libtsocks.so")
	home := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const ours = "server = 127.0.0.1\nserver_port = 9050\n"
	with := file("with.conf", ours+"\tDefault_Pass = x\n")
	inPath := file("path.conf", "path {\nreaches = 192.0.2.0/255.255.255.0\ndefault_pass=x # it\nserver = localhost\nserver_port = 9050\n}\n")
	without := file("without.conf", ours+"# default_pass = x\ndefault_user = a\ndefault_pass =\n")
	elsewhere := file("elsewhere.conf", "path {\n"+ours+"}\npath {\n\tserver = 127.0.0.2\n\tserver_port = 9050\n\tdefault_pass = x\n}\nserver = 127.0.0.1\ndefault_pass = y\n") // at port 1080
	fifo := filepath.Join(home, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		path    string
		preload bool
		env     string
		args    []string
		want    bool
	}{
		{name: "tsocks with a password in its file", path: cat, preload: true, env: "TSOCKS_CONF_FILE=" + with},
		{name: "tsocks with a password for a path", path: cat, preload: true, env: "TSOCKS_CONF_FILE=" + inPath},
		{name: "tsocks with a file without password", path: cat, preload: true, env: "TSOCKS_CONF_FILE=" + without, want: true},
		{name: "tsocks with a file that is not there", path: cat, preload: true, env: "TSOCKS_CONF_FILE=" + home + "/none", want: true},
		{name: "tsocks with a file from where it runs", path: cat, preload: true, env: "TSOCKS_CONF_FILE=with.conf"},
		{name: "tsocks with a password for another proxy", path: cat, preload: true, env: "TSOCKS_CONF_FILE=" + elsewhere, want: true},
		{name: "tsocks with what is not a file", path: cat, preload: true, env: "TSOCKS_CONF_FILE=" + fifo},
		{name: "another program", path: cat},
		{name: "connect-proxy", path: connect, want: true},
		{name: "connect-proxy with a name", path: connect, args: []string{"-", "name@proxy"}},
		{name: "connect-proxy with a name in its environment", path: connect, env: "SOCKS5_USER=a"},
		{name: "tsocks", path: cat, preload: true, want: true},
		{name: "tsocks with a password", path: cat, preload: true, env: "TSOCKS_PASSWORD=x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(tt.path, tt.args...)
			cmd.Env, cmd.Dir = []string{"A=b", tt.env}, home
			if tt.preload {
				if len(library) == 0 {
					t.Skip("needs tsocks to be installed")
				}
				cmd.Env = append(cmd.Env, "LD_PRELOAD="+library[0])
			}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = in.Close()
				_ = cmd.Wait()
			}()
			if _, err := io.WriteString(in, "x"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // all is loaded
				t.Fatal(err)
			}
			if got := offersBlindly(cmd.Process.Pid, netip.MustParseAddrPort("127.0.0.1:9050")); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// Both programs read a file in their user's home, wherever HOME points, and one of the
// host.
func TestFilesOfHome(t *testing.T) {
	me, err := user.Current()
	if err != nil || me.HomeDir == "" {
		t.Skip("needs a user with a home")
	}
	const password, none = "server = 127.0.0.1\nserver_port = 9050\ndefault_pass = x\n", "server = 127.0.0.1\nserver_port = 9050\n"
	const name = "# who\nSOCKS5_USER = category=query\n"
	for _, tt := range []struct {
		what            string
		home, etc       string // texts
		tsocks, connect bool
	}{
		{"no files", "", "", false, false},
		{"at home", password + name, "", true, true},
		{"of the host", "", password + name, true, true},
		{"behind what is read", "", strings.Repeat("#\n", maxProcText/2) + password + name, true, true},
		{"at home in place of the host's", none, password + name, false, true}, // connect-proxy reads both
	} {
		t.Run(tt.what, func(t *testing.T) {
			dir := t.TempDir() // in place of /proc/PID
			for _, f := range []struct{ folder, tsocks, connect, text string }{
				{me.HomeDir, ".tsocks.conf", ".connectrc", tt.home}, {"/etc", "tsocks.conf", "connectrc", tt.etc},
			} {
				folder := filepath.Join(dir, "root", f.folder)
				if err := os.MkdirAll(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{f.tsocks, f.connect} {
					if f.text == "" {
						continue
					}
					if err := os.WriteFile(filepath.Join(folder, name), []byte(f.text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			p := process{dir: dir, proxy: netip.MustParseAddrPort("127.0.0.1:9050"), env: map[string]string{"HOME": "/nowhere"}}
			if err := unix.Stat(dir, &p.stat); err != nil {
				t.Fatal(err)
			}
			if got := p.tsocksPassword(); got != tt.tsocks {
				t.Errorf("tsocks has a password: %v", got)
			}
			if got := p.connectName(); got != tt.connect {
				t.Errorf("connect-proxy has a name: %v", got)
			}
		})
	}
}
