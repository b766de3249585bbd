package system

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
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
	// This is the gateway's real address, so that packets arrive.
	gateway := func() (hw net.HardwareAddr) {
		if err := bed.Client.Do(func() error {
			l, err := netlink.LinkByName("wlan0")
			if err != nil {
				return err
			}
			list, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
			for _, n := range list {
				if n.IP.Equal(w.Gateway4.AsSlice()) {
					hw = n.HardwareAddr
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return hw
	}
	become := func(hw net.HardwareAddr) {
		t.Helper()
		if err := bed.Client.Do(func() error {
			l, err := netlink.LinkByName("wlan0")
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: w.Gateway4.AsSlice(), HardwareAddr: hw, State: netlink.NUD_PERMANENT})
		}); err != nil {
			t.Fatal(err)
		}
	}
	var conn net.Conn
	if err := bed.Client.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", service, stage.Patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it was only to be measured
	// The kernel already knows the gateway, and therefore mamma knows it from the
	// start.
	state := t.TempDir()
	env := []string{"env", "STATE_DIRECTORY=" + state}
	m := startBy(t, bed.Client, env)
	figures := func(m *daemon, known bool) {
		t.Helper()
		m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			if has := p["wlan0"].Path.SRTTMinMS != nil; has != known {
				if known {
					return "wlan0 has no round-trip time"
				}
				return "wlan0 has a round-trip time"
			}
			return ""
		})
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
	if kept, err := os.ReadFile(filepath.Join(state, "attachments.json")); err != nil || !strings.Contains(string(kept), "srtt_min_ipv4") {
		t.Errorf("kept is\n%s\nand the error is %v", kept, err)
	}
	m = startBy(t, bed.Client, env)
	figures(m, true)
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
