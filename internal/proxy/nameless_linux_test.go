package proxy

import (
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/socks"
)

// Who had no name when it was asked is not asked again for a while, and nobody else is
// taken for it.
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
		n.offersBlindly = func(pid int) bool { return pid == 7 }
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

// Programs tell by what they have mapped, their arguments and environment.
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
	for _, tt := range []struct {
		name    string
		path    string
		preload bool
		env     string
		args    []string
		want    bool
	}{
		{name: "another program", path: cat},
		{name: "connect-proxy", path: connect, want: true},
		{name: "connect-proxy with a name", path: connect, args: []string{"-", "name@proxy"}},
		{name: "connect-proxy with a name in its environment", path: connect, env: "SOCKS5_USER=a"},
		{name: "tsocks", path: cat, preload: true, want: true},
		{name: "tsocks with a password", path: cat, preload: true, env: "TSOCKS_PASSWORD=x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(tt.path, tt.args...)
			cmd.Env = []string{"A=b", tt.env}
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
			if got := offersBlindly(cmd.Process.Pid); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
