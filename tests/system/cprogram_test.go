package system

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// arrivals counts the connections that arrive and their bytes, by network.
type arrivals struct {
	listener net.Listener
	done     chan struct{}

	mu    sync.Mutex
	conns map[string]int
	bytes int64
}

func countArrivals(t *testing.T, bed *testbed.Bed, addr string) *arrivals {
	t.Helper()
	l, err := bed.Service.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	a := &arrivals{listener: l, done: make(chan struct{}), conns: map[string]int{}}
	go a.serve(bed)
	t.Cleanup(a.close)
	return a
}

func (a *arrivals) serve(bed *testbed.Bed) {
	defer close(a.done)
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		name := "?"
		if n := bed.NetworkOf(netip.MustParseAddrPort(c.RemoteAddr().String()).Addr()); n != nil {
			name = n.Name
		}
		a.mu.Lock()
		a.conns[name]++
		a.mu.Unlock()
		open.Go(func() {
			n, _ := io.Copy(io.Discard, c) // until the program closes the connection
			_ = c.Close()
			a.mu.Lock()
			a.bytes += n
			a.mu.Unlock()
		})
	}
}

func (a *arrivals) close() {
	_ = a.listener.Close()
	<-a.done
}

// total returns how many connections have arrived.
func (a *arrivals) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.conns {
		n += one
	}
	return n
}

// allBy ends the counting. It checks that all connections arrived by one network.
func (a *arrivals) allBy(t *testing.T, network string, conns int, bytes int64) {
	t.Helper()
	stage.Until(t, "all connections have arrived", func() bool { return a.total() >= conns })
	a.close()
	if len(a.conns) != 1 || a.conns[network] < conns || a.bytes != bytes {
		t.Errorf("connections by network: %v with %d bytes, want %d with %d bytes by %s only", a.conns, a.bytes, conns, bytes, network)
	}
}

// originalPrograms returns a host for a daemon with a configuration of the original,
// and a directory with that configuration and the C program.
func originalPrograms(t *testing.T) (*testbed.Bed, tmp) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc:", err)
	}
	bed := oneDefault(t)
	dir := newTmp(t)
	source, err := os.ReadFile("testdata/original_client.c") // read here, so that go test notices changes
	if err != nil {
		t.Fatal(err)
	}
	gcc := exec.Command("gcc", "-Wall", "-O1", "-pthread", "-o", dir.path("original_client"), "-x", "c", "-")
	gcc.Stdin = bytes.NewReader(source)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir.write(t, "policy.conf", `policy "/usr/local/lib/mam-policies/policy_sample.so" { };
prefix 10.77.0.2/24 { enabled 1; };
prefix 10.78.0.2/24 { enabled 1; set default 1; };
`)
	return bed, dir
}

// C programs that speak the protocol as the original's programs do, many at once and
// with threads, find the daemon with the original's configuration, and reach the
// network that it names.
func TestOriginalPrograms(t *testing.T) {
	bed, dir := originalPrograms(t)
	dir.mamma(t, bed.Client, "--socket", "/tmp/own.sock", "policy.conf")
	for i, tt := range []struct {
		name, action            string
		clients, threads, times int
		once                    bool // a thread opens one socket and uses it again
	}{
		{"connect", "0", 15, 1, 20, false},
		{"socketconnect", "4", 15, 1, 20, false},
		{"getaddrinfo", "2", 5, 1, 20, false},
		{"socketchoose", "7", 5, 1, 20, true},
		{"connect by threads", "0", 2, 8, 10, false},
		{"getaddrinfo by threads", "2", 2, 8, 10, false},
		{"socketconnect by threads", "4", 2, 8, 10, false},
		{"socketchoose by threads", "7", 2, 8, 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := strconv.Itoa(8080 + i)
			service := countArrivals(t, bed, "192.0.2.1:"+port)
			var programs []*stage.Process
			for range tt.clients {
				programs = append(programs, stage.Launch(t, bed.Client, dir.in(nil, "/tmp/original_client", tt.action, "192.0.2.1", port, strconv.Itoa(tt.times), strconv.Itoa(tt.threads))))
			}
			for _, p := range programs {
				if status := p.Wait(t); status != 0 {
					t.Fatalf("exit status %d: %v", status, p.Log)
				}
			}
			conns, sent := tt.clients*tt.threads*tt.times, 0
			if tt.once {
				conns = tt.clients * tt.threads
				sent = conns * (tt.times - 1) * len("again")
			}
			service.allBy(t, "wwan0", conns, int64(sent))
		})
	}
}

// A daemon that ends while programs ask either answers a request or closes the
// connection. It never sends a part of an answer. The next daemon answers the same
// programs.
func TestOriginalProgramsOverRestarts(t *testing.T) {
	bed, dir := originalPrograms(t)
	daemon := dir.mamma(t, bed.Client, "--socket", "/tmp/own.sock", "policy.conf")
	service := countArrivals(t, bed, "192.0.2.1:8080")
	var programs []*stage.Process
	for _, action := range []string{"0", "2", "4"} {
		programs = append(programs, stage.Launch(t, bed.Client, dir.in(nil, "/tmp/original_client", action, "192.0.2.1", "8080", "0", "2", "/tmp/enough")))
	}
	wait := func() {
		before := service.total()
		stage.Until(t, "the programs go on", func() bool {
			for _, p := range programs {
				select {
				case <-p.Exited():
					t.Fatalf("a program ended: %v", p.Log)
				default:
				}
			}
			return service.total() >= before+30
		})
	}
	wait()
	for range 3 {
		daemon.Signal(t, syscall.SIGTERM)
		if status := daemon.Wait(t); status != 0 {
			t.Fatalf("exit status %d: %v", status, daemon.Log)
		}
		daemon = dir.mamma(t, bed.Client, "--socket", "/tmp/own.sock", "policy.conf")
		wait()
	}
	dir.write(t, "enough", "")
	for _, p := range programs {
		if status := p.Wait(t); status != 0 {
			t.Errorf("exit status %d: %v", status, p.Log)
		}
	}
	service.allBy(t, "wwan0", 4*30, 0)
}
