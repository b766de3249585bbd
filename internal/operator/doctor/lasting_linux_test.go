package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestManager(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		text string
		want Manager
	}{
		{"nobody", "x", "", Manager{}},
		{"systemd-networkd", "systemd/netif/links/7", "# private\nADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-wwan0.network\n", Manager{Networkd, "10-netplan-wwan0.network"}},
		{"systemd-networkd leaves it alone", "systemd/netif/links/7", "ADMIN_STATE=unmanaged\n", Manager{}},
		{"NetworkManager", "NetworkManager/devices/7", "[device]\nmanaged=true\nconnection-uuid=0b9c\n", Manager{NetworkManager, "0b9c"}},
		{"NetworkManager leaves it alone", "NetworkManager/devices/7", "[device]\nmanaged=false\n", Manager{}},
		{"another interface's", "NetworkManager/devices/8", "[device]\nconnection-uuid=0b9c\n", Manager{}},
		{"ifupdown", "network/ifstate", "lo=lo\nwwan0=wwan0\n", Manager{Kind: Ifupdown}},
		{"ifupdown of Debian 12", "network/ifstate.wwan0", "wwan0=wwan0\n", Manager{Kind: Ifupdown}},
		{"ifupdown-ng", "ifstate", "lo=lo 1\nwwan0=wwan0 1\n", Manager{Kind: Ifupdown}},
		{"ifupdown, with many interfaces", "network/ifstate", strings.Repeat("tap0=tap0\n", 7000) + "wwan0=wwan0\n", Manager{Kind: Ifupdown}},
		// The rest could say something else.
		{"a part of a file", "NetworkManager/devices/7", "[device]\nconnection-uuid=0b9c\n" + strings.Repeat("#", maxRunFile), Manager{}},
		{"ifupdown has another one", "network/ifstate", "wwan01=wwan01\n", Manager{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Run: t.TempDir()}
			path := filepath.Join(o.Run, tt.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := o.manager(7, "wwan0"); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// The lasting form of the doctor's advice has the same effect as the command. It is in
// the words of the program that configures the interface.
func TestLasting(t *testing.T) {
	p := lte()
	p.Egress = "wlan0"
	for _, tt := range []struct {
		name    string
		manager Manager
		change  func(*bypass)
		want    string
	}{
		{"systemd-networkd", Manager{Networkd, "10-lte.network"}, func(*bypass) {}, `in /etc/systemd/network/10-lte.network.d/mamma.conf, then networkctl reload:
[Route]
Destination=0.0.0.0/0
Gateway=10.64.0.1
Table=101
[RoutingPolicyRule]
From=10.64.3.9
Table=254
SuppressPrefixLength=0
Priority=32765
[RoutingPolicyRule]
From=10.64.3.9
Table=101
Priority=32765
`},
		{"NetworkManager", Manager{NetworkManager, "0b9c"}, func(*bypass) {}, `nmcli connection modify 0b9c +ipv4.routes '0.0.0.0/0 10.64.0.1 table=101' ` +
			`+ipv4.routing-rules 'priority 32765 from 10.64.3.9 table 254 suppress_prefixlength 0' +ipv4.routing-rules 'priority 32765 from 10.64.3.9 table 101'`},
		{"ifupdown, routes to the neighbours included", Manager{Kind: Ifupdown}, func(b *bypass) { b.suppress = 12 }, `in /etc/network/interfaces, below iface wwan0 inet:
up ip route add 10.64.0.0/10 dev wwan0 table 101
up ip route add default via 10.64.0.1 dev wwan0 table 101
up ip rule add priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 12
up ip rule add priority 32765 from 10.64.3.9 lookup 101
down ip rule del priority 32765 from 10.64.3.9 lookup 101 || true
down ip rule del priority 32765 from 10.64.3.9 lookup main suppress_prefixlength 12 || true
down ip route del default via 10.64.0.1 dev wwan0 table 101 || true
down ip route del 10.64.0.0/10 dev wwan0 table 101 || true
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := p
			p.Manager = tt.manager
			b := bypass{p: &p, table: 101, priority: 32765}
			tt.change(&b)
			if diff := cmp.Diff(tt.want, b.last()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A default route gets a metric of its own where it is made.
func TestLastingMetric(t *testing.T) {
	for _, tt := range []struct {
		name    string
		manager Manager
		want    string
	}{
		{"systemd-networkd", Manager{Networkd, "10-lte.network"}, "in /etc/systemd/network/10-lte.network.d/mamma.conf, then networkctl reload:\n" +
			"[DHCPv4]\nRouteMetric=1124\nor, if a section [Route] names the route, Metric=1124 in that section\n"},
		{"NetworkManager", Manager{NetworkManager, "0b9c"}, "nmcli connection modify 0b9c ipv4.route-metric 1124"},
		{"ifupdown", Manager{Kind: Ifupdown}, "give the route this metric where it is made, such as in /etc/network/interfaces"},
		{"nobody", Manager{}, "give the route this metric where it is made, such as in /etc/network/interfaces"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := lte()
			p.Manager = tt.manager
			if diff := cmp.Diff(tt.want, lastMetricOf(&p, 1124)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A lasting parameter is written with the value that is set, into a file that sysctl(8)
// accepts.
func TestLastingParameterIsRead(t *testing.T) {
	program, err := exec.LookPath("sysctl")
	if err != nil {
		t.Skip("needs the program sysctl: ", err)
	}
	_, last := sysctl(filterKey("lo"), "0")
	file := filepath.Join(t.TempDir(), "f")
	last = strings.Replace(last, "/etc/sysctl.d/90-mamma.conf", file, 1)
	if out, err := exec.Command("sh", "-c", last).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", last, err, out)
	}
	// If the test may not set a parameter, sysctl says which one it could not set.
	out, _ := exec.Command(program, "--dry-run", "-p", file).CombinedOutput()
	if strings.TrimSpace(string(out)) != "net.ipv4.conf.lo.rp_filter = 0" {
		t.Errorf("sysctl reads %q", out)
	}
}
