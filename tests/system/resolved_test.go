package system

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// resolvedProgram is the path of the program in distributions
// (systemd-resolved.service(8)).
const resolvedProgram = "/lib/systemd/systemd-resolved"

// startSystemd starts a service of systemd that takes another user, with directories of
// its own below /run and, instead of the host's, those that are named. If this host lacks
// the user, user nobody gets that name as well, because the bus admits only users that
// the host knows.
func (d *desktop) startSystemd(program, owner, run string, own ...string) *stage.Process {
	d.t.Helper()
	if data, err := os.ReadFile("/proc/self/uid_map"); err != nil || !strings.HasPrefix(strings.Join(strings.Fields(string(data)), " "), "0 0 4294967295") || os.Geteuid() != 0 {
		d.t.Skipf("%s takes another user: needs root outside of user namespaces", filepath.Base(program))
	}
	script := "mount --make-rprivate / && mount -t sysfs -o ro sysfs /sys"
	ids := "65534:65534"
	if u, err := user.Lookup(owner); err == nil {
		ids = u.Uid + ":" + u.Gid
	} else {
		for file, line := range map[string]string{"passwd": owner + ":x:65534:65534::/:/usr/sbin/nologin\n", "group": owner + ":x:989:\n"} {
			text, err := os.ReadFile(filepath.Join("/etc", file))
			if err != nil {
				d.t.Fatal(err)
			}
			path := d.write(file, string(text)+line)
			if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // the service's user must read it
				d.t.Fatal(err)
			}
			script += fmt.Sprintf(" && mount --bind %s /etc/%s", path, file)
		}
	}
	dir := filepath.Join(d.dir, "root/run", run)
	for _, path := range append(own, filepath.Join("run", run)) {
		if err := os.MkdirAll(filepath.Join(d.dir, "root", path), 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { //nolint:gosec // the same
		d.t.Fatal(err)
	}
	script += fmt.Sprintf(" && chown %s %s", ids, dir)
	for _, path := range append(own, "/run") {
		script += fmt.Sprintf(" && mount --bind %s %s", filepath.Join(d.dir, "root", path), path)
	}
	argv := append(append([]string{}, d.env...), "SYSTEMD_LOG_TARGET=console", "unshare", "--mount", "sh", "-c", script+" && exec "+program)
	p := stage.Launch(d.t, d.bed.Client, exec.Command(argv[0], argv[1:]...))
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("%s says:\n%s%s", filepath.Base(program), p.Out, p.Log)
		}
	})
	return p
}

// startResolved starts systemd-resolved.
func (d *desktop) startResolved() *stage.Process {
	d.t.Helper()
	p := d.startSystemd(resolvedProgram, "systemd-resolve", "systemd/resolve")
	stage.Until(d.t, "systemd-resolved runs", func() bool { return strings.Contains(d.try("resolvectl", "status"), "Link ") })
	return p
}

// awaitServers waits until the name server of a network is the one wanted, by a service. With
// none wanted the host's own resolver is to be asked.
func awaitServers(t *testing.T, m *daemon, by, name string, want ...netip.Addr) {
	t.Helper()
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		x := p[name]
		source := "nobody"
		if x.ResolversSource != nil {
			source = *x.ResolversSource
		}
		if len(want) == 0 && !x.OwnResolvers && source == "nobody" {
			return ""
		}
		if len(want) == len(x.Resolvers) && len(want) > 0 && x.Resolvers[0] == netip.AddrPortFrom(want[0], 53).String() && source == by {
			return ""
		}
		return fmt.Sprintf("%s asks %v, by %s; want %v", name, x.Resolvers, source, want)
	})
}

// The name servers of a network are those that systemd-resolved has for it now. A name
// below a routing domain is resolved there, even if the connection takes the other
// network. When systemd-resolved ends, the host's own resolver is used again.
func TestResolved(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs systemd-resolved")
	}
	const public, other, internal = "www.example.net", "www2.example.net", "intranet.corp.example"
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}, public: {"A 192.0.2.1"}, other: {"A 192.0.2.1"}, internal: {"A 192.0.2.1"}},
	})
	wlan, wwan := bed.Network("wlan0"), bed.Network("wwan0")
	d := newDesktop(t, bed, resolvedProgram, "resolvectl")
	resolved := d.startResolved()
	d.run("resolvectl", "dns", "wlan0", wlan.Gateway4.String())
	d.run("resolvectl", "dns", "wwan0", wwan.Gateway4.String())

	m := startBy(t, bed.Client, d.env)
	servers := func(name string, want ...netip.Addr) {
		t.Helper()
		awaitServers(t, m, "systemd-resolved", name, want...)
	}
	servers("wlan0", wlan.Gateway4)
	servers("wwan0", wwan.Gateway4)
	c := startDialer(t, bed, m.socket)
	dial := func(name, by string) {
		t.Helper()
		if n, took := c.dial(name + ":80"); n != by {
			t.Errorf("%s: connected by %q after %v, want %q", name, n, took, by)
		}
	}
	dial(public, "wlan0")
	if here, _ := asked(wlan, public); len(here) == 0 {
		t.Errorf("%s was not asked at the network's own servers", public)
	}

	// systemd-resolved does not report this change; the daemon finds it by looking.
	d.run("resolvectl", "domain", "wwan0", "~corp.example")
	stage.Until(t, "the domain is known", func() bool {
		return strings.Contains(m.ctl(t, "explain", internal+":80"), "Resolver "+wwan.Gateway4.String()+" for names below corp.example, by whatever network.")
	})
	dial(internal, "wlan0")
	if there, _ := asked(wwan, internal); len(there) == 0 {
		t.Errorf("%s was not asked where it is known", internal)
	}
	if here, _ := asked(wlan, internal); len(here) > 0 {
		t.Errorf("another network's servers were asked for %s: %v", internal, here)
	}
	doctor := d.try(filepath.Join(bin, "mammactl"), "--control", filepath.Join(filepath.Dir(m.socket), "control.sock"), "doctor")
	if want := "names below corp.example: mamma looks these names up over wwan0, whatever network a connection takes. The name servers there are " + wwan.Gateway4.String(); !strings.Contains(doctor, want) {
		t.Errorf("doctor does not say %q:\n%s", want, doctor)
	}

	d.run("resolvectl", "dns", "wlan0", testbed.ServiceAddr4.String())
	servers("wlan0", testbed.ServiceAddr4)
	dial(other, "wlan0")
	found := false
	for _, q := range bed.Service.DNS.Queries() {
		found = found || q.Name == dns.Fqdn(other)
	}
	if !found {
		t.Error("after a change of the servers the new one was not asked")
	}

	// The servers of a tunnel that is for all names, as VPNs are set up.
	d.run("ip", "tuntap", "add", "vpn0", "mode", "tun")
	d.run("ip", "address", "add", "10.9.0.2/24", "dev", "vpn0")
	d.run("ip", "link", "set", "vpn0", "up")
	d.run("resolvectl", "dns", "vpn0", "10.9.0.53")
	d.run("resolvectl", "domain", "vpn0", "~.")
	d.run("resolvectl", "default-route", "vpn0", "no")
	stage.Until(t, "the tunnel is for all names", func() bool {
		return strings.Contains(m.ctl(t, "explain", public+":80"), "Resolver 10.9.0.53 for all names, by whatever network.")
	})
	if out := m.ctl(t, "explain", internal+":80"); !strings.Contains(out, "for names below corp.example") {
		t.Errorf("a name of a domain:\n%s", out)
	}

	resolved.Signal(t, syscall.SIGTERM)
	<-resolved.Exited()
	servers("wlan0")
	servers("wwan0")
}
