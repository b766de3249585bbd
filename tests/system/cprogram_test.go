package system

import (
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/socket-intents/mamma/tests/internal/stage"
)

// C programs that speak and read as those of the original do, many at once, find the
// daemon that was given a file of the original, and reach the network that it names.
func TestOriginalPrograms(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc:", err)
	}
	bed := oneDefault(t)
	dir := newTmp(t)
	if out, err := exec.Command("gcc", "-Wall", "-O1", "-o", dir.path("original_client"), "testdata/original_client.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir.write(t, "policy.conf", `policy "/usr/local/lib/mam-policies/policy_sample.so" { };
prefix 10.77.0.2/24 { enabled 1; };
prefix 10.78.0.2/24 { enabled 1; set default 1; };
`)
	dir.mamma(t, bed.Client, "--socket", "/tmp/own.sock", "policy.conf")
	service, err := bed.Service.Listen("tcp4", "192.0.2.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := service.Accept()
			if err != nil {
				return
			}
			name := "?"
			if n := bed.NetworkOf(netip.MustParseAddrPort(c.RemoteAddr().(*net.TCPAddr).String()).Addr()); n != nil {
				name = n.Name
			}
			_ = c.Close()
			mu.Lock()
			seen[name]++
			mu.Unlock()
		}
	}()
	const clients, times = 30, 20
	var programs []*stage.Process
	for i := range clients {
		programs = append(programs, stage.Launch(t, bed.Client, dir.in(nil, "/tmp/original_client", []string{"0", "4"}[i%2], "192.0.2.1", "8080", strconv.Itoa(times))))
	}
	for _, p := range programs {
		if status := p.Wait(t); status != 0 {
			t.Fatalf("exit status %d: %v", status, p.Log)
		}
	}
	stage.Until(t, "all connections have arrived", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen["wwan0"]+seen["wlan0"]+seen["?"] == clients*times
	})
	_ = service.Close()
	<-done
	if seen["wwan0"] != clients*times {
		t.Errorf("connections by network: %v, want all by the default, wwan0", seen)
	}
}
