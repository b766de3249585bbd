package faults

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

const (
	// soakEnv sets how long to soak, such as "1h".
	soakEnv = "MAMMA_SOAK"
	// longEnv, if it is set, lets tests take long.
	longEnv = "MAMMA_LONG"

	shortSoak, longSoak = 12 * time.Second, time.Hour
)

// soakLength returns how long to soak.
func soakLength(t *testing.T) time.Duration {
	t.Helper()
	length := shortSoak
	if os.Getenv(longEnv) != "" {
		length = longSoak
	}
	if text := os.Getenv(soakEnv); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", soakEnv, err)
		}
	}
	if end, ok := t.Deadline(); ok && time.Until(end) < length+2*time.Minute {
		t.Fatalf("go test gives up before the end of %v: -timeout %v", length, length+5*time.Minute)
	}
	return length
}

const soakConf = networksConf + `prefix "127.0.0.0/8" {
  default = true
}
interface "wlan0" {
  default    = true
  nameserver = ["10.1.0.1"]
}
`

// All attackers of these tests run beside well-behaved clients, for as long as asked.
// Memory, descriptors, threads and goroutines of daemon and proxy stay what they were, and
// the clients' connections take the same time, with the same number of decisions.
func TestSoak(t *testing.T) {
	length := soakLength(t)
	zone := testbed.Zone{}
	for n := range soakNames {
		zone[fmt.Sprintf("host%d.example.net", n)] = []string{"A 192.0.2.1"}
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}, Zone: zone})
	link, err := bed.Client.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir()
	conf := write(t, filepath.Join(logs, "policy.conf"), soakConf+
		"decisions {\n  record = \""+filepath.Join(logs, "decisions.jsonl")+"\"\n  record_max = \"1MB\"\n}\n")
	d := start(t, options{in: bed.Client, dir: newDir(t)}, conf)
	to := service(t)
	load := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: d.socket}}, address: to}
	defer func() { _ = load.dialer.Daemon.Close() }()
	plain := &dials{dialer: &client.Dialer{Daemon: &client.Daemon{Path: filepath.Join(logs, "none")}}, address: to}
	other, err := tryRole(t, userA, userA, "torment", d.socket)
	if err != nil {
		t.Logf("attacked by this user only: there is no other one: %v", err)
	} else {
		other.line(t)
	}
	proxy, proxyAddress := startProxy(t, "socket = \""+d.socket+"\"\nlog {\n  access = false\n}\n")
	watched := []*watched{{name: "mamma", process: d.Process}, {name: "muacsocksd", process: proxy}}
	watched[0].goroutines = func() int64 { return goroutines(t, d) }

	var resolved, churned, shown, relayed atomic.Int64
	var n atomic.Int64
	pace := time.NewTicker(2 * time.Millisecond) // of the changes of addresses
	defer pace.Stop()
	loads := map[string]func() error{
		"dials":      inLoop(2, load.dial),
		"yardstick":  inLoop(1, plain.dial),
		"strangers":  inLoop(1, func() error { return served(d.socket) }),
		"attacks":    inLoop(1, func() error { return allAttacks(d.socket) }),
		"resolution": inLoop(1, func() error { return resolveOne(d.socket, bed.Networks[0].Client4, n.Add(1), &resolved) }),
		"control": inLoop(1, func() error {
			for _, path := range []string{"/v1/status", "/v1/prefixes", "/v1/decisions", "/metrics"} {
				if _, err := d.get(path); err != nil {
					return err
				}
				shown.Add(1)
			}
			return nil
		}),
		"proxy": inLoop(1, func() error {
			relayed.Add(1)
			return proxied(proxyAddress, toService5(netip.MustParseAddrPort(to)))
		}),
		"attacks on the control socket": inLoop(1, func() error { return controlAttacks(d) }),
		"attacks on the proxy": inLoop(1, func() error {
			return allProxyAttacks(proxyAddress, toService5(netip.MustParseAddrPort(to)))
		}),
		"addresses": inLoop(1, func() error {
			<-pace.C
			a := address(netip.AddrFrom4([4]byte{10, 200, 1, byte(churned.Add(1)%250 + 1)}))
			if err := bed.Client.Handle().AddrAdd(link, a); err != nil {
				return err
			}
			return bed.Client.Handle().AddrDel(link, a)
		}),
	}
	reload := time.NewTicker(time.Second)
	defer reload.Stop()
	said := time.NewTicker(time.Minute)
	defer said.Stop()
	end := time.After(length)
	warm := time.After(length / 4)
	half, last := time.After(length/2), time.After(length*3/4)
	var early, late, earlyPlain, latePlain fare
	for soaking := true; soaking; {
		select {
		case <-reload.C:
			d.Signal(t, syscall.SIGHUP)
			proxy.Signal(t, syscall.SIGHUP)
			for _, w := range watched {
				w.look(t)
			}
		case <-said.C:
			t.Logf("%v; %d dials", watched, load.chosen.Load()+load.plain.Load())
		case <-warm:
			for _, w := range watched {
				w.before, w.most = w.most, usage{}
			}
			t.Logf("after %v: %v", length/4, watched)
			_, _ = load.rest(), plain.rest()
		case <-half:
			early, earlyPlain = load.rest(), plain.rest()
		case <-last:
			_, _ = load.rest(), plain.rest()
		case <-end:
			soaking = false
		}
	}
	late, latePlain = load.rest(), plain.rest()
	for name, stop := range loads {
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if other != nil {
		other.end(t)
	}
	t.Logf("%d connections through the proxy; %d names resolved, %d control requests, %d addresses",
		relayed.Load(), resolved.Load(), shown.Load(), churned.Load())
	if length >= time.Minute && (resolved.Load() == 0 || relayed.Load() == 0 || shown.Load() == 0 || churned.Load() == 0) {
		t.Error("something of this was not tried")
	}
	t.Logf("dials of the second quarter: %v; of the last: %v", early, late)
	t.Logf("without mamma: %v; of the last: %v", earlyPlain.p99, latePlain.p99)
	if servedWorse(early, late, earlyPlain.p99, latePlain.p99) {
		t.Errorf("clients were served worse at the end: %v, before %v; without mamma %v, before %v", late, early, latePlain.p99, earlyPlain.p99)
	}
	for _, w := range watched {
		t.Log(w)
		// This much is explained by the garbage collector and by busy moments.
		if b, m := w.before, w.most; m.memory > b.memory*3/2+16<<20 || m.files > b.files+64 || m.threads > b.threads+8 || m.goroutines > b.goroutines+64 {
			t.Errorf("grew: %v", w)
		}
	}
	// Once nobody asks any more, only what the programs need at rest is left.
	_ = load.dialer.Daemon.Close()
	for _, w := range watched {
		stage.Until(t, w.name+" is at rest", func() bool {
			w.look(t)
			return w.now.files < 64 && w.now.goroutines < 100
		})
		t.Logf("at rest: %s: %v", w.name, w.now)
	}
}

// servedWorse tells whether dials fared worse later on. Other programs on this host are
// taken into account, because they make dials without a manager slower, too.
func servedWorse(early, late fare, earlyPlain, latePlain time.Duration) bool {
	slower := max(1, float64(latePlain)/float64(max(earlyPlain, time.Millisecond)))
	most := 4*float64(early.p99) + float64(20*time.Millisecond)
	return float64(late.p99) > slower*most || late.decided < early.decided/(2*slower)
}

// A failure that a busy machine explains is not counted as a fault of the daemon. Every
// other failure is.
func TestServedWorse(t *testing.T) {
	const ms = time.Millisecond
	good := fare{p99: 5 * ms, decided: 0.99}
	for _, tt := range []struct {
		late                  fare
		earlyPlain, latePlain time.Duration
		want                  bool
	}{
		{good, ms, ms, false},
		{fare{p99: 39 * ms, decided: 0.9}, ms, ms, false},
		{fare{p99: 41 * ms, decided: 0.9}, ms, ms, true},
		{fare{p99: 41 * ms, decided: 0.9}, 0, ms / 2, true},
		{fare{p99: 41 * ms, decided: 0.9}, 2 * ms, 8 * ms, false},
		{fare{p99: 200 * ms, decided: 0.9}, 2 * ms, 8 * ms, true},
		{fare{p99: 5 * ms, decided: 0.4}, ms, ms, true},
		{fare{p99: 5 * ms, decided: 0.4}, 2 * ms, 8 * ms, false},
		{fare{p99: 5 * ms, decided: 0.01}, 2 * ms, 8 * ms, true},
	} {
		if got := servedWorse(good, tt.late, tt.earlyPlain, tt.latePlain); got != tt.want {
			t.Errorf("%v, without mamma %v, before %v: %v", tt.late, tt.latePlain, tt.earlyPlain, got)
		}
	}
}

// fare tells how clients fared for a while.
type fare struct {
	p99     time.Duration // of the time until a connection was there, decision included
	decided float64       // the share of those by a decision
	n       int64
}

func (s fare) String() string {
	return fmt.Sprintf("%d, p99 %v, %.1f %% by decision", s.n, s.p99, 100*s.decided)
}

// rest tells how the dials since the last call fared.
func (d *dials) rest() fare {
	chosen, plain := d.chosen.Swap(0), d.plain.Swap(0)
	return fare{d.quantile(0.99), float64(chosen) / float64(max(1, chosen+plain)), chosen + plain}
}

// allAttacks makes each attack once, except those that take long.
func allAttacks(socket string) error {
	for _, a := range attacks {
		if a.name == "questions without reading" || a.name == "a request again and again" {
			continue
		}
		l, err := open(socket)
		if err != nil {
			return err
		}
		err = a.do(l)
		_ = l.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

// allProxyAttacks makes each attack on the proxy once, except those that wait for a
// time-out of the proxy.
func allProxyAttacks(address string, question []byte) error {
	for _, a := range proxyAttacks(question) {
		if a.name == "nothing" || a.name == "half a request, then silence" {
			continue
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		err = a.do(c)
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

// controlAttacks sends what the control socket does not accept.
func controlAttacks(d *daemon) error {
	for _, text := range []string{
		"\x00\x01\x02\x03\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10),
		"POST /v1/explain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n[[[[[[[",
		"GET /v1/\x1b[2J HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		c, err := net.Dial("unix", filepath.Join(d.dir, "control.sock"))
		if err != nil {
			return err
		}
		send(c, []byte(text))
		err = dropped(c)
		_ = c.Close()
		if err != nil {
			return fmt.Errorf("control socket, %.20q: %w", text, err)
		}
	}
	// Some clients ask for much and read nothing of it. Some do not complete their
	// requests.
	var unread []net.Conn
	defer func() {
		for _, c := range unread {
			_ = c.Close()
		}
	}()
	for range 8 {
		for _, text := range []string{
			"GET /v1/events?since=0 HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /v1/decisions?limit=10000 HTTP/1.1\r\nHost: x\r\n\r\n",
			"POST /v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{",
		} {
			c, err := net.Dial("unix", filepath.Join(d.dir, "control.sock"))
			if err != nil {
				return err
			}
			unread = append(unread, c)
			send(c, []byte(text))
		}
	}
	return nil
}

// soakNames is how many names exist.
const soakNames = 500

// resolveOne asks for a name that exists, or now and then for one of many that do not. For
// those, the host's own resolver is asked, which cannot be reached.
func resolveOne(socket string, from netip.Addr, n int64, resolved *atomic.Int64) error {
	host, want := fmt.Sprintf("host%d.example.net", n%soakNames), netip.MustParseAddr("192.0.2.1")
	if n%1000 == 0 {
		host, want = fmt.Sprintf("none%d.example.net", n), netip.Addr{}
	}
	a, err := resolution(socket, host, from)
	if err == nil && a.IsValid() { // a busy machine's name server may be late
		resolved.Add(1)
		if a != want {
			err = fmt.Errorf("%s is said to be %v", host, a)
		}
	}
	return err
}

// usage is what a process uses.
type usage struct{ memory, files, threads, goroutines int64 }

func (u usage) String() string {
	return fmt.Sprintf("%d MB, %d files, %d threads, %d goroutines", u.memory>>20, u.files, u.threads, u.goroutines)
}

// watched is a process whose usage is watched.
type watched struct {
	name       string
	process    *stage.Process
	goroutines func() int64 // nil: not known

	now, before, most usage
}

func (w *watched) String() string {
	return fmt.Sprintf("%s: %v; at most %v, before %v", w.name, w.now, w.most, w.before)
}

func (w *watched) look(t *testing.T) {
	t.Helper()
	d := &daemon{Process: w.process}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.process.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	w.now = usage{memory: d.memory(t), files: int64(len(files)), threads: d.status(t, "Threads")}
	if w.goroutines != nil {
		w.now.goroutines = w.goroutines()
	}
	w.most = usage{
		max(w.most.memory, w.now.memory), max(w.most.files, w.now.files),
		max(w.most.threads, w.now.threads), max(w.most.goroutines, w.now.goroutines),
	}
}

// get makes a request to the control socket.
func (d *daemon) get(path string) (string, error) {
	c, err := net.Dial("unix", filepath.Join(d.dir, "control.sock"))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(stage.Patience))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	if err == nil && !strings.HasPrefix(string(b), "HTTP/1.0 200 ") {
		err = fmt.Errorf("%s: %.100q", path, b)
	}
	return string(b), err
}

// goroutines returns how many goroutines the daemon has.
func goroutines(t *testing.T, d *daemon) int64 {
	t.Helper()
	text, err := d.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(text) {
		if f := strings.Fields(l); len(f) == 2 && f[0] == "go_goroutines" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no metric go_goroutines")
	return 0
}
