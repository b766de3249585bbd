// Package muacsocksd tests that connections through the SOCKS daemon leave by the network
// that mamma chooses. Both programs run on a host with two networks.
package muacsocksd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// bin is the directory of the programs under test.
var bin string

func TestMain(m *testing.M) {
	_ = testbed.Enter(stage.Fetch) // New says what is missing
	os.Exit(stage.WithPrograms(func(dir string) int {
		bin = dir
		return m.Run()
	}, "../../cmd/mamma", "../../cmd/mammactl", "../../cmd/muacsocksd"))
}

// patience is the time limit for what should happen at once.
const patience = 30 * time.Second

// policy prefers wwan0 for large transfers.
const policy = stage.LargeByWWAN

// socksConf states intents for programs that cannot state any themselves.
const socksConf = `
intents "downloads" {
  destination = ["*.download.example", "192.0.2.1"]
  port        = ["53", "80"]
  user        = ["loader"]
  set         = "category=bulktransfer"
}
intents "names" {
  port = ["53"]
  set  = "category=bulktransfer"
}
`

const listen = "127.0.0.1:9050"

// world is a host with two networks, mamma and muacsocksd.
type world struct {
	*testbed.Bed
	dir    string
	policy string // mamma's configuration
	daemon *stage.Daemon
	log    *log
}

type log struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns the next line that contains all texts.
func (l *log) await(t *testing.T, texts ...string) string {
	t.Helper()
	deadline := time.After(patience)
next:
	for {
		select {
		case line, ok := <-l.lines:
			if !ok {
				t.Fatalf("muacsocksd ended:\n%s", l)
			}
			for _, x := range texts {
				if !strings.Contains(line, x) {
					continue next
				}
			}
			return line
		case <-deadline:
			t.Fatalf("no line with %q:\n%s", texts, l)
		}
	}
}

func newWorld(t *testing.T) *world {
	return start(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{"www.example.net": {"A 192.0.2.1"}, "x.download.example": {"A 192.0.2.1"}},
	}, policy, socksConf)
}

// start makes a world from the configurations of all its parts.
func start(t *testing.T, bed testbed.Config, policy, socksConf string) *world {
	t.Helper()
	w := &world{Bed: testbed.ForTest(t, bed), dir: t.TempDir(), policy: policy}
	conf := filepath.Join(w.dir, "socks.conf")
	if err := os.WriteFile(conf, []byte(socksConf), 0o600); err != nil {
		t.Fatal(err)
	}
	w.startMamma(t)
	// On a busy machine, mamma may answer too late for what muacsocksd checks at its start.
	for begun := time.Now(); !w.startProxy(t, conf); {
		if time.Since(begun) > patience {
			t.Fatalf("mamma does not answer:\n%s\n%s", w.log, w.daemon.Output())
		}
	}
	return w
}

// startProxy starts muacsocksd and tells whether it works with mamma. If not, muacsocksd is
// ended.
func (w *world) startProxy(t *testing.T, conf string) bool {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "muacsocksd"), "--listen", listen, "--config", conf, "--socket", w.daemon.Socket)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	l := &log{lines: make(chan string, 10_000)}
	w.log = l
	go func() {
		sc := bufio.NewScanner(stderr)
		for sc.Scan() {
			l.mu.Lock()
			l.text.WriteString(sc.Text() + "\n")
			l.mu.Unlock()
			l.lines <- sc.Text()
		}
		close(l.lines)
	}()
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		for range l.lines { // until it has said everything
		}
		_ = cmd.Wait()
	})
	t.Cleanup(end)
	l.await(t, "listening")
	with := strings.Contains(l.await(t, "Multi Access Manager"), "chooses the network")
	if !with {
		end()
	}
	return with
}

func (w *world) startMamma(t *testing.T) {
	t.Helper()
	var err error
	if w.daemon, err = stage.StartDaemon(t.Context(), w.Client, filepath.Join(bin, "mamma"), w.dir, "mamma", w.policy); err != nil {
		t.Fatal(err)
	}
}

// inside dials from the client's namespace.
type inside struct{ *testbed.Namespace }

func (i inside) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return i.DialContext(ctx, network, address)
}

// bySOCKS and byHTTP make transports that go through the proxy.
func (w *world) bySOCKS(t *testing.T, user string) *http.Transport {
	var auth *proxy.Auth
	if user != "" {
		auth = &proxy.Auth{User: user, Password: "x"}
	}
	d, err := proxy.SOCKS5("tcp", listen, auth, inside{w.Client})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Transport{DialContext: d.(proxy.ContextDialer).DialContext, DisableKeepAlives: true}
}

func (w *world) byHTTP() *http.Transport {
	return &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: listen}),
		DialContext:       w.Client.DialContext,
		DisableKeepAlives: true,
	}
}

// get asks the service from which address it was asked.
func get(t *testing.T, tr *http.Transport, target, hint string) testbed.Seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if hint != "" {
		req.Header.Set("Socket-Intents", hint)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var seen testbed.Seen
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestNetworksAreChosen(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name    string
		through *http.Transport
		target  string
		hint    string
		network string
		logged  string
	}{
		{"nothing is known", w.bySOCKS(t, ""), "http://www.example.net/", "", "wlan0", "source=10.1.0.2"},
		{"the user name says", w.bySOCKS(t, "category=bulktransfer,filesize=300M"), "http://www.example.net/", "", "wwan0", "intents_from=client"},
		{"a header says", w.byHTTP(), "http://www.example.net/", "category=bulktransfer", "wwan0", "intents_from=client"},
		{"a rule says", w.bySOCKS(t, "loader"), "http://x.download.example/", "", "wwan0", `intents_from="rule downloads"`},
		{"a rule for an address", w.bySOCKS(t, "loader"), "http://192.0.2.1/", "", "wwan0", `intents_from="rule downloads"`},
		{"the user name says something else", w.bySOCKS(t, "category=query"), "http://x.download.example/", "", "wlan0", "intents_from=client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range w.Networks {
				n.Server.DNS.Forget()
			}
			if seen := get(t, tt.through, tt.target, tt.hint); seen.Network != tt.network {
				t.Errorf("the server saw %v of %s, want %s\n%s", seen.Client, seen.Network, tt.network, w.log)
			}
			tt.through.CloseIdleConnections()
			w.log.await(t, "msg=request", tt.logged, "reply=succeeded")
			for _, n := range w.Networks {
				if q := n.Server.DNS.Queries(); n.Name != tt.network && len(q) > 0 {
					t.Errorf("the resolver of %s was asked %v", n.Name, q)
				}
			}
		})
	}
}

// The proxy goes on without mamma, says so, and uses mamma again when it is back.
func TestMammaGoesAndComes(t *testing.T) {
	w := newWorld(t)
	bulk := w.bySOCKS(t, "category=bulktransfer")
	if seen := get(t, bulk, "http://192.0.2.1/", ""); seen.Network != "wwan0" {
		t.Errorf("with mamma: %s", seen.Network)
	}
	if err := w.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if seen := get(t, bulk, "http://192.0.2.1/", ""); seen.Network != "wlan0" {
		t.Errorf("without mamma: %s", seen.Network)
	}
	w.log.await(t, "the Multi Access Manager is not there")
	w.startMamma(t)
	if seen := get(t, bulk, "http://192.0.2.1/", ""); seen.Network != "wwan0" {
		t.Errorf("with mamma again: %s\n%s", seen.Network, w.log)
	}
	w.log.await(t, "the Multi Access Manager chooses the network now")
}
