package system

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// desktop is a host with a bus and services of its own.
type desktop struct {
	t   *testing.T
	bed *testbed.Bed
	dir string
	bus string   // socket of the bus
	env []string // for env(1): where the bus is
}

// On this bus everybody may do everything, because access rights are not tested here.
const busConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
`

// newDesktop starts the bus of a host.
func newDesktop(t *testing.T, bed *testbed.Bed, programs ...string) *desktop {
	t.Helper()
	for _, p := range append(programs, "dbus-daemon", "unshare", "mount") {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s: %v", filepath.Base(p), err)
		}
	}
	dir, err := os.MkdirTemp("", "desktop") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &desktop{t: t, bed: bed, dir: dir, bus: filepath.Join(dir, "bus")}
	d.env = []string{"env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + d.bus}
	d.write("bus.conf", fmt.Sprintf(busConf, d.bus))
	p := stage.Launch(t, bed.Client, exec.Command("dbus-daemon", "--config-file="+filepath.Join(dir, "bus.conf"), "--nofork", "--nopidfile", "--print-address=1"))
	p.Out.Await(t, "unix:path=", 1)
	return d
}

func (d *desktop) write(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// launch starts a service in a mount namespace of its own. There, /run and the named
// directories belong to the test. /sys cannot be written to, as in a container, so the
// service does not wait for udev.
func (d *desktop) launch(program string, args []string, own ...string) *stage.Process {
	d.t.Helper()
	script := "mount --make-rprivate / && mount -t sysfs -o ro sysfs /sys"
	for _, path := range append(own, "/run") {
		from := filepath.Join(d.dir, "root", path)
		if err := os.MkdirAll(from, 0o755); err != nil {
			d.t.Fatal(err)
		}
		script += fmt.Sprintf(" && mount --bind %s %s", from, path)
	}
	argv := append(slices.Clone(d.env), "unshare", "--mount", "sh", "-c", script+` && exec "$@"`, "sh", program)
	argv = append(argv, args...)
	return stage.Launch(d.t, d.bed.Client, exec.Command(argv[0], argv[1:]...))
}

// run runs a program on the host and returns what it prints.
func (d *desktop) run(args ...string) string {
	d.t.Helper()
	argv := append(slices.Clone(d.env), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := d.bed.Client.Run(cmd); err != nil {
		d.t.Fatalf("%v: %v\n%s", args, err, &out)
	}
	return out.String()
}

const networkManager = "/usr/sbin/NetworkManager"

// startNM starts NetworkManager, which manages both networks. To find out whether they
// lead to the Internet, it requests a page from the service.
func (d *desktop) startNM() *stage.Process {
	d.t.Helper()
	d.write("root/etc/NetworkManager/NetworkManager.conf", `[main]
plugins=keyfile
dns=none
dhcp=internal
auth-polkit=false
no-auto-default=*
[device]
match-device=interface-name:*
managed=1
[connectivity]
uri=http://192.0.2.1/check
response=yes
interval=300
`)
	p := d.launch(networkManager, []string{"--no-daemon", "--log-level=INFO"}, "/etc/NetworkManager", "/var/lib/NetworkManager")
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("NetworkManager says:\n%s%s", p.Out, p.Log)
		}
	})
	stage.Until(d.t, "NetworkManager runs", func() bool {
		return strings.Contains(d.try("nmcli", "-t", "-f", "RUNNING", "general"), "running\n")
	})
	return p
}

// try is run for a program that may fail.
func (d *desktop) try(args ...string) string {
	argv := append(slices.Clone(d.env), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	var out strings.Builder
	cmd.Stdout = &out
	_ = d.bed.Client.Run(cmd)
	return out.String()
}

// connect makes NetworkManager activate a connection with the addresses of the network.
func (d *desktop) connect(name string, n *testbed.Network, metric int) {
	d.t.Helper()
	d.run("nmcli", "connection", "add", "type", "ethernet", "ifname", n.Name, "con-name", name, "ipv6.method", "disabled",
		"ipv4.method", "manual", "ipv4.addresses", netip.PrefixFrom(n.Client4, n.Prefix4.Bits()).String(),
		"ipv4.gateway", n.Gateway4.String(), "ipv4.route-metric", fmt.Sprint(metric))
	d.run("nmcli", "connection", "up", name)
}

// execCondition is the condition in the example of a unit in mamma-desktop(7), as a
// command for a shell.
func execCondition(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../doc/man/mamma-desktop.7")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\nExecCondition=")
	text, _, ended := strings.Cut(strings.ReplaceAll(text, "\\e\n", ""), "\n")
	if !found || !ended {
		t.Fatal("the page has no such example")
	}
	return strings.ReplaceAll(text, `\-`, "-")
}

// On a host with NetworkManager and only the automatic configuration, what nmcli says
// about a connection changes the next decision of a running daemon. So do a portal, the
// end of NetworkManager, and its return.
func TestNetworkManager(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs NetworkManager")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	var portal atomic.Bool
	bed.Service.HTTP.Mux.HandleFunc("GET /check", func(w http.ResponseWriter, r *http.Request) {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		if n := bed.NetworkOf(from.Addr()); portal.Load() && n != nil && n.Name == "wlan0" {
			http.Redirect(w, r, "http://192.0.2.1/login", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "yes")
	})
	d := newDesktop(t, bed, networkManager, "nmcli")
	nm := d.startNM()
	d.connect("Hotel", bed.Network("wlan0"), 50)
	d.connect("Phone", bed.Network("wwan0"), 60)

	m := startBy(t, bed.Client, d.env)
	t.Cleanup(func() {
		if t.Failed() {
			control := filepath.Join(filepath.Dir(m.socket), "control.sock")
			t.Logf("mamma says:\n%s%s", m.Log, d.try(filepath.Join(bin, "mammactl"), "--control", control, "prefixes"))
		}
	})
	a := ask(t, bed, m, service)
	a.until("wlan0")

	began := time.Now()
	d.run("nmcli", "connection", "modify", "Hotel", "connection.metered", "yes")
	t.Logf("decided anew %v after nmcli was started", a.until("wwan0").Sub(began).Round(time.Millisecond))
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		x := p["wlan0"]
		if x.Cost != "metered" || x.CostSource == nil || *x.CostSource != "NetworkManager" || len(x.Facts) == 0 || x.Facts[0].Name != "metered" || x.Facts[0].Value != "yes" {
			return fmt.Sprintf("wlan0 costs %s, by %v; %+v", x.Cost, x.CostSource, x.Facts)
		}
		return ""
	})
	if _, err := exec.LookPath("busctl"); err == nil {
		condition := func(want bool) {
			t.Helper()
			argv := append(slices.Clone(d.env), "sh", "-c", execCondition(t))
			stage.Until(t, fmt.Sprintf("the unit's condition is %v", want), func() bool {
				return (bed.Client.Run(exec.Command(argv[0], argv[1:]...)) == nil) == want
			})
		}
		condition(true) // the telephone costs nothing
		d.run("nmcli", "connection", "modify", "Phone", "connection.metered", "yes")
		condition(false)
		d.run("nmcli", "connection", "modify", "Phone", "connection.metered", "no")
		condition(true)
		out := d.run("busctl", "--address=unix:path="+d.bus, "get-property", "org.socketintents.Mamma1", "/org/socketintents/Mamma1", "org.socketintents.Mamma1", "Networks")
		if !strings.Contains(out, `"Cost" s "metered"`) || !strings.Contains(out, `"CostSource" s "NetworkManager"`) {
			t.Errorf("the bus has\n%s", out)
		}
	}
	if out := m.ctl(t, "prefixes"); !strings.Contains(out, "metered (NetworkManager)") || !strings.Contains(out, "wlan0: metered yes") {
		t.Errorf("prefixes:\n%s", out)
	}
	d.run("nmcli", "connection", "modify", "Hotel", "connection.metered", "no")
	a.until("wlan0")

	portal.Store(true)
	d.run("nmcli", "networking", "connectivity", "check")
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		w, o := p["wlan0"].Health, p["wwan0"].Health
		if w.State != "suspect" || w.Reason == nil || *w.Reason != "a portal wants its users to log in (NetworkManager)" || o.State != "up" {
			return fmt.Sprintf("wlan0 is %s (%v), wwan0 %s", w.State, w.Reason, o.State)
		}
		return ""
	})
	portal.Store(false)
	d.run("nmcli", "networking", "connectivity", "check")
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if s := p["wlan0"].Health.State; s != "up" {
			return "wlan0 is " + s
		}
		return ""
	})

	d.run("nmcli", "connection", "modify", "Hotel", "connection.metered", "yes")
	a.until("wwan0")
	nm.Signal(t, syscall.SIGTERM)
	<-nm.Exited()
	a.until("wlan0") // the configuration counts again
	d.startNM()
	d.run("nmcli", "connection", "up", "Hotel")
	a.until("wwan0")
}
