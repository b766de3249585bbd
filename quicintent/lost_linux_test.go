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

// A download goes over the network that its intents ask for. It loses its network
// twice, once with an event and once in silence, and still arrives complete.
func TestNetworkLostTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it downloads 50 MB over emulated links")
	}
	link := testbed.LinkConfig{
		Down: testbed.Shape{Rate: 40 * testbed.Mbit, Delay: 10 * time.Millisecond}, Up: testbed.Shape{Rate: 40 * testbed.Mbit, Delay: 10 * time.Millisecond},
	}
	other := link
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", Emulate: &link}, {Name: "wwan0", Emulate: &other}}})
	mamma, program := build(t, "mamma", "..", "./cmd/mamma"), build(t, "http3", "../examples/http3", ".")
	s := serve(t, bed)

	dir := t.TempDir()
	policy, socket := filepath.Join(dir, "policy.conf"), filepath.Join(dir, "mamma.sock")
	if err := os.WriteFile(policy, []byte(byIntent), 0o600); err != nil {
		t.Fatal(err)
	}
	var log, out output
	daemon := exec.Command(mamma, "--trace-protocol", "--socket", socket, policy)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := bed.Client.Start(daemon); err != nil {
		t.Fatal(err)
	}
	until(t, "mamma serves", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})

	get := exec.Command(program, "--socket", socket, "--ca", s.ca, "--intent", "category=bulktransfer,filesize=50M", "https://"+testbed.ServiceAddr4.String()+"/50M")
	get.Stdout, get.Stderr = &out, &out
	done := make(chan error, 1)
	go func() { done <- bed.Client.Run(get) }()
	progress := func(part int64) func() bool {
		return func() bool {
			select {
			case err := <-done:
				t.Fatalf("the download ended: %v\n%s%s", err, &out, &log)
			default:
			}
			return s.written.Load() >= part
		}
	}
	moves := func(n int) func() bool {
		return func() bool { return len(moved.FindAllString(out.String(), -1)) >= n }
	}
	until(t, "15 MB", progress(15_000_000))
	wwan, err := bed.Client.Handle().LinkByName("wwan0")
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Client.Handle().LinkSetDown(wwan); err != nil {
		t.Fatal(err)
	}
	until(t, "the first move", moves(1))
	if err := bed.Client.Handle().LinkSetUp(wwan); err != nil {
		t.Fatal(err)
	}
	// The kernel has removed this network's routes, so they are added again.
	gateway := &netlink.Route{LinkIndex: wwan.Attrs().Index, Gw: bed.Networks[1].Gateway4.AsSlice(), Priority: 200}
	if err := bed.Client.Handle().RouteReplace(gateway); err != nil {
		t.Fatal(err)
	}
	until(t, "30 MB", progress(30_000_000))
	if err := bed.Networks[0].Link.Set(testbed.Shape{Loss: 1}, testbed.Shape{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	until(t, "the second move", moves(2))
	if err := <-done; err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &log)
	}
	t.Logf("\n%s", &out)
	got := moved.FindAllStringSubmatch(out.String(), -1)
	if got[0][1] != "wwan0" || got[0][2] != "wlan0" || got[1][1] != "wlan0" || got[1][2] != "wwan0" {
		t.Errorf("%q", got)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, &content{}); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d bytes by HTTP/3.0", size); !strings.Contains(out.String(), want) || !strings.Contains(out.String(), fmt.Sprintf("sha256 %x", hash.Sum(nil))) {
		t.Errorf("not %s with sha256 %x:\n%s", want, hash.Sum(nil), &out)
	}
	checkReports(t, log.String())
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
