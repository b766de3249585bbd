package system

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// networkdProgram is where distributions have it (systemd-networkd.service(8)).
const networkdProgram = "/lib/systemd/systemd-networkd"

// managed writes the file by which systemd-networkd manages a network as it is, with the metric
// of its default route, and with further lines in its section Network.
func (d *desktop) managed(n *testbed.Network, metric int, lines ...string) {
	d.t.Helper()
	path := d.write("root/etc/systemd/network/"+n.Name+".network", fmt.Sprintf("[Match]\nName=%s\n[Network]\nAddress=%v\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nLLMNR=no\n%s\n[Route]\nGateway=%v\nMetric=%d\n",
		n.Name, netip.PrefixFrom(n.Client4, n.Prefix4.Bits()), strings.Join(lines, "\n"), n.Gateway4, metric))
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // its user is to read it
		d.t.Fatal(err)
	}
}

func (d *desktop) startNetworkd() *stage.Process {
	d.t.Helper()
	p := d.startSystemd(networkdProgram, "systemd-network", "systemd/netif", "/etc/systemd/network")
	// networkctl would look into files of the directory /run that only the service has.
	stage.Until(d.t, "systemd-networkd knows wlan0", func() bool {
		return strings.Contains(d.try("busctl", "--address=unix:path="+d.bus, "call", "org.freedesktop.network1", "/org/freedesktop/network1", "org.freedesktop.network1.Manager", "ListLinks"), `"wlan0"`)
	})
	return p
}

// Without systemd-resolved the name servers of a network are those that systemd-networkd has
// for it; so are its domains for routing; and when it stops nothing of that is left, until it is
// there again.
func TestNetworkd(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs systemd-networkd")
	}
	const internal = "intranet.corp.example"
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}, internal: {"A 192.0.2.1"}},
	})
	wlan, wwan := bed.Network("wlan0"), bed.Network("wwan0")
	d := newDesktop(t, bed, networkdProgram, "networkctl", "busctl")
	d.managed(wlan, 50, "DNS="+wlan.Gateway4.String())
	d.managed(wwan, 60, "DNS="+wwan.Gateway4.String(), "Domains=~corp.example")
	networkd := d.startNetworkd()

	m := startBy(t, bed.Client, d.env)
	servers := func(name string, want ...netip.Addr) {
		t.Helper()
		awaitServers(t, m, "systemd-networkd", name, want...)
	}
	servers("wlan0", wlan.Gateway4)
	// Its servers are for its domain only.
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		x := p["wwan0"]
		if x.OwnResolvers {
			return fmt.Sprintf("wwan0 asks %v for all names", x.Resolvers)
		}
		return ""
	})
	if out := m.ctl(t, "prefixes"); !strings.Contains(out, "wlan0: state online") {
		t.Errorf("prefixes:\n%s", out)
	}
	stage.Until(t, "the domain is known", func() bool {
		return strings.Contains(m.ctl(t, "explain", internal+":80"), "Resolver "+wwan.Gateway4.String()+" for names below corp.example, by whatever network.")
	})
	c := startDialer(t, bed, m.socket)
	if n, took := c.dial(internal + ":80"); n != "wlan0" {
		t.Errorf("connected by %q after %v", n, took)
	}
	if there, _ := asked(wwan, internal); len(there) == 0 {
		t.Errorf("%s was not asked where it is known", internal)
	}
	if here, _ := asked(wlan, internal); len(here) > 0 {
		t.Errorf("another network's servers were asked for %s: %v", internal, here)
	}

	d.managed(wlan, 50, "DNS="+testbed.ServiceAddr4.String())
	d.managed(wwan, 60, "DNS="+wwan.Gateway4.String(), "Domains=~corp.example", "DNSDefaultRoute=yes")
	d.run("networkctl", "reload")
	servers("wlan0", testbed.ServiceAddr4)
	servers("wwan0", wwan.Gateway4)

	networkd.Signal(t, syscall.SIGTERM)
	<-networkd.Exited()
	servers("wlan0")
	d.startNetworkd()
	servers("wlan0", testbed.ServiceAddr4)
}
