package system

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// Another gateway with the same address gets none of the former gateway's measurements.
// These come back with the former gateway, even after a restart, until they are
// forgotten. Both gateways have the same address and prefix, and nothing else changes.
func TestRoaming(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs programs in namespaces")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	w := bed.Network("wlan0")
	gateway := func() net.HardwareAddr { return neighbour(t, bed, "wlan0", w.Gateway4) }
	become := func(hw net.HardwareAddr) {
		t.Helper()
		setNeighbour(t, bed, "wlan0", w.Gateway4, hw)
	}
	conn := dialService(t, bed)
	// The kernel already knows the gateway, and therefore mamma knows it from the
	// start.
	state := t.TempDir()
	env := []string{"env", "STATE_DIRECTORY=" + state}
	m := startBy(t, bed.Client, env)
	figures := func(m *daemon, known bool) {
		t.Helper()
		hasFigures(t, m, "wlan0", known)
	}
	figures(m, true)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	home := gateway()
	if home == nil {
		t.Fatal("the gateway's link-layer address is not known")
	}
	other := net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
	began := time.Now()
	become(other)
	figures(m, false)
	t.Logf("figures of the old gateway were gone %v after it was another one", time.Since(began).Round(time.Millisecond))
	become(home)
	figures(m, true)
	m.Signal(t, syscall.SIGTERM)
	<-m.Exited()
	if kept, err := os.ReadFile(filepath.Join(state, "attachments.json")); err != nil || !strings.Contains(string(kept), "srtt_min_ipv4") || !strings.Contains(string(kept), `"network": "192.0.2.0/24"`) {
		t.Errorf("kept is\n%s\nand the error is %v", kept, err)
	}
	m = startBy(t, bed.Client, env)
	figures(m, true)
	// People see what the figures belong to, and how old they are.
	if out := m.ctl(t, "prefixes"); !strings.Contains(out, "wlan0: gateway "+home.String()+" (kernel)") {
		t.Errorf("the gateway is not shown:\n%s", out)
	}
	if out := m.ctl(t, "explain", service); !strings.Contains(out, "Estimates: rtt ") || !strings.Contains(out, " old") {
		t.Errorf("the age of what came back is not shown:\n%s", out)
	}
	m.ctl(t, "forget", "wlan0")
	figures(m, false)
	m.Signal(t, syscall.SIGTERM)
	<-m.Exited()
	kept, err := os.ReadFile(filepath.Join(state, "attachments.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept), "srtt_min") {
		t.Errorf("after forget there is\n%s", kept)
	}
}
