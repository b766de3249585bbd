package doctor

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// networkdProgram is the path at which distributions install it
// (systemd-networkd.service(8)).
const networkdProgram = "/lib/systemd/systemd-networkd"

// astray makes a host on which packets of sockets bound to wwan0's address leave by wlan0.
func astray(t *testing.T) *testbed.Bed {
	return testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{
			{Name: "wlan0", Prefix4: netip.MustParsePrefix("10.1.0.2/24"), SourceRule: true}, {Name: "wwan0", Prefix4: netip.MustParsePrefix("10.2.0.2/24")},
		},
		Zone: testbed.Zone{".": {"NS a.root.test."}},
	})
}

// straying returns what the doctor finds about that.
func straying(t *testing.T, bed *testbed.Bed, run string) []Finding {
	t.Helper()
	return slices.DeleteFunc(lookWith(t, bed, soundConf, run), func(x Finding) bool { return x.Check != "source-route" })
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not seen", what)
		}
	}
}

// runNetworkd runs the real systemd-networkd in the client's namespace, with run as its
// /run, until the returned function is called. In containers, which have no udev, /sys
// cannot be written to, and systemd-networkd then takes links for ready.
func runNetworkd(t *testing.T, bed *testbed.Bed, run string) (stop func()) {
	t.Helper()
	// systemd-networkd ends if the environment names a bus that cannot exist. It waits for
	// the bus in its own /run.
	const script = `unset DBUS_SYSTEM_BUS_ADDRESS && mount --make-rprivate / && mount -t sysfs -o ro sysfs /sys && mount --bind "$1" /run && exec ` + networkdProgram
	cmd := exec.Command("sh", "-c", script, "sh", run)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := bed.Client.Start(cmd); err != nil {
		testbed.SkipOrFail(t, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("systemd-networkd says: %s", &log)
		}
	}
}

// systemd-networkd accepts what the doctor proposes to make a change last, exactly as it is
// shown, for the interface that it configures.
func TestLastingByNetworkd(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts systemd-networkd")
	}
	owner, err := user.Lookup("systemd-network")
	if _, e := os.Stat(networkdProgram); e != nil || err != nil {
		t.Skip("needs systemd-networkd and its user: ", e, err)
	}
	if data, err := os.ReadFile("/proc/self/uid_map"); err != nil || !strings.HasPrefix(strings.Join(strings.Fields(string(data)), " "), "0 0 4294967295") || os.Geteuid() != 0 {
		t.Skip("systemd-networkd takes another user: needs root outside of user namespaces")
	}
	bed := astray(t)
	n := bed.Networks[1]
	run := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(run, "systemd", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("network/10-lte.network", "[Match]\nName=wwan0\n[Network]\nIPv6AcceptRA=no\nLinkLocalAddressing=no\nAddress=10.2.0.2/24\n[Route]\nGateway=10.2.0.1\nMetric=200\n")
	// systemd-networkd would remove what it has not made itself, including wlan0's rules.
	write("networkd.conf.d/keep.conf", "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n")
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"netif", "netif/links", "netif/leases", "netif/lldp"} {
		path := filepath.Join(run, "systemd", d)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	for dir := run; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) { // its user must get there
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	configured := func() bool {
		b, _ := os.ReadFile(filepath.Join(run, "systemd/netif/links", strconv.Itoa(n.Index)))
		return strings.Contains(string(b), "ADMIN_STATE=configured\n")
	}
	stop := runNetworkd(t, bed, run)
	t.Cleanup(stop)
	await(t, "the interface configured by systemd-networkd", configured)
	found := straying(t, bed, run)
	stop()
	if len(found) != 1 || found[0].Lasts == "" {
		t.Fatalf("found %+v, want a missing source route and how to have it for good", found)
	}
	head, text, _ := strings.Cut(found[0].Lasts, "\n")
	const want = "in /etc/systemd/network/10-lte.network.d/mamma.conf, then networkctl reload:"
	if head != want {
		t.Fatalf("it says %q, want %q", head, want)
	}
	write("network/10-lte.network.d/mamma.conf", text)
	stop = runNetworkd(t, bed, run)
	defer stop()
	await(t, "what lasts at work", func() bool { return len(straying(t, bed, run)) == 0 })
}

// The lines for interfaces(5) take effect when ifupdown switches the interface on, and are
// undone when it switches the interface off.
func TestLastingByIfupdown(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts ifupdown")
	}
	for _, program := range []string{"ifup", "ifdown"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs ifupdown: ", err)
		}
	}
	bed := astray(t)
	run := t.TempDir()
	state, file := filepath.Join(run, "network"), filepath.Join(run, "interfaces")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	text := "iface wwan0 inet static\naddress 10.2.0.2/24\ngateway 10.2.0.1\nmetric 200\n"
	link, err := bed.Client.Handle().LinkByName("wwan0")
	if err == nil { // it makes address and routes itself
		err = bed.Client.Handle().AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 2, 0, 2), Mask: net.CIDRMask(24, 32)}})
	}
	if err != nil {
		t.Fatal(err)
	}
	do := func(program string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "--no-scripts", "--interfaces", file, "--state-dir", state, "wwan0")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := bed.Client.Run(cmd); err != nil || out.Len() > 0 {
			t.Fatalf("%s: %v: %s", program, err, &out)
		}
	}
	do("ifup")
	found := straying(t, bed, run)
	if len(found) != 1 {
		t.Fatalf("found %+v, want a missing source route", found)
	}
	head, lines, _ := strings.Cut(found[0].Lasts, "\n")
	if want := "in /etc/network/interfaces, below iface wwan0 inet:"; head != want {
		t.Fatalf("it says %q, want %q", head, want)
	}
	do("ifdown")
	text += lines
	do("ifup")
	if found := straying(t, bed, run); len(found) != 0 {
		t.Errorf("with what lasts: %+v", found)
	}
	do("ifdown")
	rules, err := bed.Client.Handle().RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.Src != nil && r.Src.IP.Equal(net.IPv4(10, 2, 0, 2)) {
			t.Errorf("left behind: %v", r)
		}
	}
}

// NetworkManager's own program accepts the command, for a connection that the test gives
// it.
func TestLastingByNetworkManager(t *testing.T) {
	nmcli, err := exec.LookPath("nmcli")
	if err != nil {
		t.Skip("needs nmcli of NetworkManager 1.40 or later: ", err)
	}
	offline := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.Command(nmcli, append([]string{"--offline", "connection"}, args...)...)
		var says bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader(in), &says
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("nmcli %q: %v: %s", args, err, &says)
		}
		return string(out)
	}
	profile := offline("", "add", "type", "ethernet", "ifname", "wwan0", "con-name", "lte", "ipv4.method", "manual", "ipv4.addresses", "10.64.3.9/10")
	p := lte()
	p.Egress, p.Manager = "wlan0", Manager{NetworkManager, "0b9c"}
	b := bypass{p: &p, table: 101, priority: 32765, suppress: 12}
	for _, tt := range []struct {
		name, lasts string
		want        []string
	}{
		{"a source route", b.last(), []string{
			"route1=10.64.0.0/10\nroute1_options=table=101\nroute2=0.0.0.0/0,10.64.0.1\nroute2_options=table=101\n",
			"=priority 32765 from 10.64.3.9 suppress_prefixlength 12 table 254\n", "=priority 32765 from 10.64.3.9 table 101\n",
		}},
		{"a default route", lastDefault(&p, 300), []string{"route1=0.0.0.0/0,10.64.0.1,300\n"}},
		{"a metric", lastMetricOf(&p, 1124), []string{"route-metric=1124\n"}},
		{"an interface that is switched on", lastUp("wwan0", p.Manager), []string{"id=lte\n"}},
	} {
		words, ok := strings.CutPrefix(tt.lasts, "nmcli connection modify 0b9c ")
		if !ok {
			t.Errorf("%s: it says %q", tt.name, tt.lasts)
			continue
		}
		var args []string
		shell := exec.Command("sh", "-c", `printf '%s\0' `+words)
		out, err := shell.Output()
		if err != nil {
			t.Fatal(err)
		}
		for a := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
			args = append(args, a)
		}
		got := offline(profile, append([]string{"modify"}, args...)...)
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: NetworkManager makes of it\n%s, want %q", tt.name, got, w)
			}
		}
	}
}
