package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// marked returns the number of the daemon's rules.
func marked(t *testing.T, bed *testbed.Bed) int {
	t.Helper()
	n := 0
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := bed.Client.Handle().RuleList(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if r.Protocol == routing.Protocol {
				n++
			}
		}
	}
	return n
}

// awaitMarked returns when the daemon has the wanted number of rules.
func awaitMarked(t *testing.T, bed *testbed.Bed, want int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(stage.Patience); marked(t, bed) != want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d rules, want %d", marked(t, bed), want)
		}
	}
}

// With routing = "manage", any program that binds an address gets the network of that
// address. The rules come back after a flush. They are removed by the daemon when it
// ends, or by the next daemon if it was killed.
func TestManagedRouting(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	conf := write(t, "policy.conf", "routing = \"manage\"\n"+plainConf)
	bound := func(n *testbed.Network) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		c, err := bed.Client.Dial(ctx, &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(n.Client4, 0))}, "tcp", service)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := bound(bed.Networks[1]); err == nil {
		t.Fatal("the second network's address works without a source rule")
	}
	d := start(t, bed.Client, conf)
	const rules = 8 // two for each address of two networks
	awaitMarked(t, bed, rules)
	for _, n := range bed.Networks {
		if err := bound(n); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
	}
	// Sockets need no device with these rules.
	d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if p["wwan0"].Device != nil {
			return "sockets are bound to " + *p["wwan0"].Device
		}
		return ""
	})
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := bed.Client.Handle().RuleList(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.Protocol == routing.Protocol {
				if err := bed.Client.Handle().RuleDel(&r); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	awaitMarked(t, bed, rules)
	if err := bound(bed.Networks[1]); err != nil {
		t.Errorf("after a flush: %v", err)
	}
	d.Signal(t, syscall.SIGTERM)
	if status := d.Wait(t); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.Log)
	}
	if n := marked(t, bed); n != 0 {
		t.Errorf("%d rules are left behind", n)
	}

	d = start(t, bed.Client, conf)
	awaitMarked(t, bed, rules)
	d.Signal(t, syscall.SIGKILL)
	d.Wait(t)
	if n := marked(t, bed); n != rules {
		t.Errorf("%d rules after a crash", n)
	}
	start(t, bed.Client, write(t, "policy.conf", plainConf))
	awaitMarked(t, bed, 0)
}

// If somebody else's rule comes before ours, the daemon tells which one, and leaves it
// alone.
func TestManagedRoutingPreceded(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	d := start(t, bed.Client, write(t, "policy.conf", "routing = \"manage\"\n"+plainConf))
	awaitMarked(t, bed, 8)
	h, table := bed.Client.Handle(), 4711
	if err := h.RouteAdd(&netlink.Route{LinkIndex: bed.Networks[0].Index, Gw: bed.Networks[0].Gateway4.AsSlice(), Table: table}); err != nil {
		t.Fatal(err)
	}
	r := netlink.NewRule()
	r.Priority, r.Family, r.Table, r.Src = 100, netlink.FAMILY_V4, table, &net.IPNet{IP: net.IPv4(10, 2, 0, 0), Mask: net.CIDRMask(16, 32)}
	if err := h.RuleAdd(r); err != nil {
		t.Fatal(err)
	}
	d.Log.Await(t, "10.2.0.0/24 on wwan0 leaves by wlan0: rule 100, from 10.2.0.0/16 lookup 4711", 1)
	if rules, err := h.RuleListFiltered(netlink.FAMILY_V4, &netlink.Rule{Table: table}, netlink.RT_FILTER_TABLE); err != nil || len(rules) != 1 {
		t.Errorf("somebody's rule is now %v, %v", rules, err)
	}
}

// Without the capability, the daemon says which capability it lacks.
func TestManagedRoutingNeedsCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving up a capability takes one: needs root, or a user namespace")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv of util-linux")
	}
	conf := write(t, "policy.conf", "routing = \"manage\"\n"+plainConf)
	cmd := exec.Command(setpriv, "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--", filepath.Join(bin, "mamma"), "--socket", filepath.Join(t.TempDir(), "s"), conf)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CAP_NET_ADMIN: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN") {
		t.Errorf("%v: %s", err, out)
	}
}

// The doctor finds a daemon that lacks a capability for its present configuration,
// whatever capabilities the doctor has. If no daemon runs, the doctor finds its own
// lack. The commands that it proposes mend that.
func TestDoctorFindsMissingCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving up a capability takes one: needs root, or a user namespace")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv of util-linux")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}, Zone: testbed.Zone{".": {"NS a.root.test."}}})
	const leave, manage = "routing = \"leave\"\n", "routing = \"manage\"\n"
	const conf = "policy \"sample\" {}\ninterface \"wlan0\" {\n  nameserver = [\"10.1.0.1\"]\n}\n"
	path := write(t, "policy.conf", leave+conf)
	without := []string{setpriv, "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"}
	doctor := func(prefix []string, args ...string) (status int, says string) {
		t.Helper()
		argv := append(append(slices.Clone(prefix), filepath.Join(bin, "mammactl"), "doctor"), args...)
		cmd := exec.Command(argv[0], argv[1:]...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		err := bed.Client.Run(cmd)
		if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), out.String()
	}
	const lacks = `PROBLEM  this host: routing = "manage" needs CAP_NET_ADMIN, which mamma does not have`
	expect := func(when string, want bool, prefix []string, args ...string) {
		t.Helper()
		status, says := doctor(prefix, args...)
		if found := strings.Contains(says, lacks); found != want || want != (status == 2) {
			t.Errorf("%s: exit status %d\n%s", when, status, says)
		}
		if want && !strings.Contains(says, "AmbientCapabilities=CAP_NET_ADMIN") {
			t.Errorf("%s: what mends it is not said\n%s", when, says)
		}
	}
	control := []string{"--control", filepath.Join(t.TempDir(), "control.sock")}
	d := startBy(t, bed.Client, without, append(slices.Clone(control), path)...)
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect("the daemon needs no capability", false, nil, control...)
	rewrite(manage + conf)
	expect("the daemon lacks it", true, nil, control...)
	rewrite(leave + conf)
	expect("after the second remedy", false, nil, control...)
	d.Signal(t, syscall.SIGTERM)
	d.Wait(t)

	rewrite(manage + conf)
	offline := append(slices.Clone(control), "--config", path)
	expect("no daemon, and no capability", true, without, offline...)
	expect("no daemon", false, nil, offline...)
	start(t, bed.Client, append(slices.Clone(control), path)...)
	expect("after the first remedy, for a doctor without it", false, without, control...)
}

// The doctor uses the running daemon's configuration. Its exit status tells how serious
// the findings are.
func TestDoctor(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}},
	})
	d := start(t, bed.Client, write(t, "policy.conf", resolverConf))
	cmd := exec.Command(filepath.Join(bin, "mammactl"), "--control", filepath.Join(filepath.Dir(d.socket), "control.sock"), "doctor")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := bed.Client.Run(cmd)
	if e := (*exec.ExitError)(nil); !errors.As(err, &e) || e.ExitCode() != 2 {
		t.Errorf("%v", err)
	}
	for _, want := range []string{
		"PROBLEM  10.2.0.0/24 on wwan0: sockets bound to this network's address do not send by its interface",
		"evidence: route to 5.188.10.1 from 10.2.0.2 goes by wlan0",
		"ip route add default via 10.2.0.1 dev wwan0 table 101 && { ip rule add priority 32765 from 10.2.0.2 lookup main suppress_prefixlength 0 && { ip rule add priority 32765 from 10.2.0.2 lookup 101 || ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

// When the owner forbids a network by any rule while the daemon runs, the daemon obeys.
// A network that is allowed again is offered again.
func TestManagedRoutingForbidden(t *testing.T) {
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{
		{Name: "wlan0", Prefix4: netip.MustParsePrefix("10.1.0.0/24")}, {Name: "wwan0", Prefix4: netip.MustParsePrefix("10.2.0.0/24")},
	}})
	d := start(t, bed.Client, write(t, "policy.conf", "routing = \"manage\"\n"+plainConf))
	awaitMarked(t, bed, 4)
	source := bed.Networks[1].Client4.String()
	for _, rule := range []string{"from " + source + " prohibit", "from " + source + " blackhole priority 20000", "from " + source + " unreachable priority 32765"} {
		ip := func(verb string) {
			t.Helper()
			if err := bed.Client.Run(exec.Command("ip", strings.Fields("rule "+verb+" "+rule)...)); err != nil {
				t.Fatal(err)
			}
		}
		ip("add")
		d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			if x := p["wwan0"].Health; x.State != "down" || x.Reason == nil {
				return fmt.Sprintf("%s: wwan0 is %s", rule, x.State)
			}
			return ""
		})
		ip("del")
		d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			if x := p["wwan0"]; x.Health.State != "up" || x.Device != nil {
				return fmt.Sprintf("without %s: wwan0 is %s, by device %v", rule, x.Health.State, x.Device != nil)
			}
			return ""
		})
	}
}
