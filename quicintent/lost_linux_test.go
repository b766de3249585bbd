package quicintent

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

const (
	size     = 50_000_000
	patience = 60 * time.Second
)

// bin is the folder of the programs under test.
var bin string

func TestMain(m *testing.M) {
	_ = testbed.Enter(fetch) // New says what is missing
	dir, err := os.MkdirTemp("", "http3")
	if err != nil {
		panic(err)
	}
	bin = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// fetch brings the modules of the programs under test into the cache, because these are
// built without a network.
func fetch() {
	for dir, what := range map[string]string{"..": "./cmd/mamma", "../examples/http3": "."} {
		cmd := exec.Command("go", "list", "-deps", what)
		cmd.Dir = dir
		_ = cmd.Run() // the build says what is missing
	}
}

func build(t *testing.T, name, dir, what string) string {
	t.Helper()
	out := filepath.Join(bin, name)
	cmd := exec.Command("go", "build", "-o", out, what)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	return out
}

const byIntent = `policy "intents" {}
interface "wlan0" {
  default  = true
  link_dns = false
  options { category = "query" }
}
interface "wwan0" {
  link_dns = false
  options { category = "bulktransfer" }
}
`

// content is the file that is downloaded.
type content struct{ at int }

func (c *content) Read(b []byte) (int, error) {
	n := min(len(b), size-c.at)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range b[:n] {
		b[i] = byte((c.at + i) * 7 >> 3)
	}
	c.at += n
	return n, nil
}

// server serves content over HTTP/3 and counts what it has sent.
type server struct {
	written atomic.Int64
	ca      string
}

func serve(t *testing.T, bed *testbed.Bed) *server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{testbed.ServiceAddr4.AsSlice()}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{ca: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pc, err := bed.Service.ListenPacket("udp4", netip.AddrPortFrom(testbed.ServiceAddr4, 443).String())
	if err != nil {
		t.Fatal(err)
	}
	h3 := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			b := make([]byte, 32<<10)
			for c := (&content{}); ; {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				if _, err := w.Write(b[:n]); err != nil {
					return
				}
				s.written.Add(int64(n))
			}
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = h3.Serve(pc)
	}()
	t.Cleanup(func() {
		_ = h3.Close()
		_ = pc.Close()
		<-done
	})
	return s
}

// output collects what a program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// until waits until is returns true.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

var moved = regexp.MustCompile(`(?m)^moved from (\w+) to (\w+) after`)

// fetched is a download of 50 MB by examples/http3 over two emulated networks, of which its
// intents ask for wwan0.
type fetched struct {
	t        *testing.T
	bed      *testbed.Bed
	server   *server
	log, out output // of the daemon, and of the program
	done     chan error
}

func fetching(t *testing.T, flags ...string) *fetched {
	t.Helper()
	if testing.Short() {
		t.Skip("short: it downloads 50 MB over emulated links")
	}
	link := testbed.LinkConfig{
		Down: testbed.Shape{Rate: 40 * testbed.Mbit, Delay: 10 * time.Millisecond}, Up: testbed.Shape{Rate: 40 * testbed.Mbit, Delay: 10 * time.Millisecond},
	}
	other := link
	f := &fetched{t: t, done: make(chan error, 1)}
	f.bed = testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", Emulate: &link}, {Name: "wwan0", Emulate: &other}}})
	mamma, program := build(t, "mamma", "..", "./cmd/mamma"), build(t, "http3", "../examples/http3", ".")
	f.server = serve(t, f.bed)

	dir := t.TempDir()
	policy, socket := filepath.Join(dir, "policy.conf"), filepath.Join(dir, "mamma.sock")
	if err := os.WriteFile(policy, []byte(byIntent), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(mamma, "--trace-protocol", "--socket", socket, policy)
	daemon.Stdout, daemon.Stderr = &f.log, &f.log
	if err := f.bed.Client.Start(daemon); err != nil {
		t.Fatal(err)
	}
	until(t, "mamma serves", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})

	args := append(flags, "--socket", socket, "--ca", f.server.ca, "--intent", "category=bulktransfer,filesize=50M", "https://"+testbed.ServiceAddr4.String()+"/50M")
	get := exec.Command(program, args...)
	get.Stdout, get.Stderr = &f.out, &f.out
	go func() { f.done <- f.bed.Client.Run(get) }()
	return f
}

// until waits until the server has sent a part, in bytes.
func (f *fetched) until(part int64) {
	f.t.Helper()
	until(f.t, fmt.Sprintf("%d bytes", part), func() bool {
		select {
		case err := <-f.done:
			f.t.Fatalf("the download ended: %v\n%s%s", err, &f.out, &f.log)
		default:
		}
		return f.server.written.Load() >= part
	})
}

// untilMoved waits until the connection has moved that often.
func (f *fetched) untilMoved(n int) {
	f.t.Helper()
	until(f.t, fmt.Sprintf("%d moves", n), func() bool { return len(moved.FindAllString(f.out.String(), -1)) >= n })
}

// untilSaid waits until the program has said something. It must do so before its end.
func (f *fetched) untilSaid(what string) {
	f.t.Helper()
	until(f.t, what, func() bool {
		select {
		case err := <-f.done:
			f.t.Fatalf("the download ended without %q: %v\n%s", what, err, &f.out)
		default:
		}
		return strings.Contains(f.out.String(), what)
	})
}

// untilOn waits until the latest move of the connection was to that interface.
func (f *fetched) untilOn(name string) {
	f.t.Helper()
	until(f.t, "it is on "+name, func() bool {
		all := moved.FindAllStringSubmatch(f.out.String(), -1)
		return len(all) > 0 && all[len(all)-1][2] == name
	})
}

// set takes an interface down or up. The kernel removes a network's routes when it goes down,
// so they are added again.
func (f *fetched) set(name string, up bool) {
	f.t.Helper()
	h, n := f.bed.Client.Handle(), f.bed.Network(name)
	link, err := h.LinkByName(name)
	if err != nil {
		f.t.Fatal(err)
	}
	if !up {
		if err := h.LinkSetDown(link); err != nil {
			f.t.Fatal(err)
		}
		return
	}
	if err := h.LinkSetUp(link); err != nil {
		f.t.Fatal(err)
	}
	priority := map[string]int{"wlan0": 100, "wwan0": 200}[name]
	if err := h.RouteReplace(&netlink.Route{LinkIndex: n.Index, Gw: n.Gateway4.AsSlice(), Priority: priority}); err != nil {
		f.t.Fatal(err)
	}
}

// complete waits for the end of the download, compares its hash, and the interfaces that it
// moved from and to, if any are given.
func (f *fetched) complete(want ...string) {
	f.t.Helper()
	if err := <-f.done; err != nil {
		f.t.Fatalf("%v\n%s%s", err, &f.out, &f.log)
	}
	f.t.Logf("\n%s", &f.out)
	var got []string
	for _, m := range moved.FindAllStringSubmatch(f.out.String(), -1) {
		got = append(got, m[1]+" to "+m[2])
	}
	if len(want) > 0 && !slices.Equal(got, want) {
		f.t.Errorf("moved %q, want %q", got, want)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, &content{}); err != nil {
		f.t.Fatal(err)
	}
	if want := fmt.Sprintf("%d bytes by HTTP/3.0", size); !strings.Contains(f.out.String(), want) || !strings.Contains(f.out.String(), fmt.Sprintf("sha256 %x", hash.Sum(nil))) {
		f.t.Errorf("not %s with sha256 %x:\n%s", want, hash.Sum(nil), &f.out)
	}
}

// A download goes over the network that its intents ask for. It loses its network
// twice, once with an event and once in silence, and still arrives complete.
func TestNetworkLostTwice(t *testing.T) {
	f := fetching(t)
	f.until(15_000_000)
	f.set("wwan0", false)
	f.untilMoved(1)
	f.set("wwan0", true)
	f.until(30_000_000)
	if err := f.bed.Networks[0].Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	f.untilMoved(2)
	f.complete("wwan0 to wlan0", "wlan0 to wwan0")
	checkReports(t, f.log.String())
}

// A download that had to leave the network that its intents ask for returns to it, if the
// program wants that.
func TestReturn(t *testing.T) {
	f := fetching(t, "--better")
	f.until(5_000_000)
	f.set("wwan0", false)
	f.untilMoved(1)
	f.set("wwan0", true)
	f.untilSaid("(wwan0 is better)")
	f.complete()
}

// A download goes on when it loses its network again and again, also after attempts to move
// that failed because no network answered.
func TestNetworksLostAgainAndAgain(t *testing.T) {
	f := fetching(t)
	for i, name := range []string{"wwan0", "wlan0", "wwan0", "wlan0"} {
		f.until(int64(i+1) * 7_000_000)
		f.set(name, false)
		f.untilOn(map[string]string{"wwan0": "wlan0", "wlan0": "wwan0"}[name])
		f.set(name, true)
	}
	f.until(35_000_000)
	down, up := f.bed.Networks[0].Link.Shapes()
	for _, n := range f.bed.Networks {
		if err := n.Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: 1}); err != nil {
			t.Fatal(err)
		}
	}
	failed := func() [][]string {
		return regexp.MustCompile(`(?m)^still on (\w+) .*deadline exceeded`).FindAllStringSubmatch(f.out.String(), -1)
	}
	until(t, "three attempts", func() bool { return len(failed()) >= 3 })
	other := map[string]string{"wwan0": "wlan0", "wlan0": "wwan0"}[failed()[2][1]]
	if err := f.bed.Network(other).Link.Set(down, up); err != nil {
		t.Fatal(err)
	}
	f.untilOn(other)
	f.complete()
}

var reported = regexp.MustCompile(`message\.flow="([0-9.]+):\d+ to ([0-9.]+):443 on interface (\d+), rtt (\d+) us, least (\d+) us, variation \d+ us, (\d+) sent, (\d+) lost, flags (0x\w+)"`)

// checkReports looks whether the manager was told how the connection fared on both networks.
// The silence of a download may be the server's, so no network is said to be silent.
func checkReports(t *testing.T, log string) {
	t.Helper()
	measured, over := map[string]int{}, map[string]int{}
	for _, m := range reported.FindAllStringSubmatch(log, -1) {
		from, flags := m[1], m[8]
		if m[2] != testbed.ServiceAddr4.String() || m[3] == "0" {
			t.Errorf("%q", m[0])
		}
		if rtt, _ := strconv.Atoi(m[4]); rtt > 0 {
			measured[from]++
			if least, _ := strconv.Atoi(m[5]); rtt < 20_000 || least < 20_000 || least > rtt {
				t.Errorf("over links that take 20 ms: %q", m[0])
			}
		}
		if flags == "0x1" {
			over[from]++
		} else if flags != "0x0" {
			t.Errorf("%q", m[0])
		}
	}
	if len(measured) != 2 || len(over) != 2 {
		t.Errorf("round-trip times by source %v, last reports %v\n%s", measured, over, log)
	}
}
