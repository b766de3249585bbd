package system

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// Some destinations can be reached by one interface only, whatever is chosen. For
// these, nothing is bound, so that the kernel's route counts.
func TestTunnelsAndBridges(t *testing.T) {
	bed := laptop(t)
	h := bed.Client.Handle()
	add := func(link netlink.Link, addr string) int {
		t.Helper()
		if err := bed.Client.Do(func() error { return netlink.LinkAdd(link) }); err != nil {
			t.Skipf("needs a kernel that can make a %s interface: %v", link.Type(), err)
		}
		l, err := h.LinkByName(link.Attrs().Name)
		if err != nil {
			t.Fatal(err)
		}
		p := netip.MustParsePrefix(addr)
		if err := h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			t.Fatal(err)
		}
		if err := h.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		return l.Attrs().Index
	}
	attrs := func(name string) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Name = name
		return a
	}
	add(&netlink.Bridge{LinkAttrs: attrs("docker0")}, "172.17.0.1/16")
	tun := &netlink.Tuntap{LinkAttrs: attrs("tun0"), Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE, NonPersist: true, Queues: 1}
	index := add(tun, "10.9.0.2/24")
	defer func() {
		for _, f := range tun.Fds {
			_ = f.Close()
		}
	}()
	via := func(dst string) {
		t.Helper()
		if err := h.RouteAdd(&netlink.Route{LinkIndex: index, Dst: ipNet(netip.MustParsePrefix(dst)), Scope: netlink.SCOPE_LINK}); err != nil {
			t.Fatal(err)
		}
	}
	via("198.51.100.0/24")

	configured := start(t, bed.Client, write(t, "policy.conf", plainConf))
	automatic := start(t, bed.Client, write(t, "auto.conf", "auto = true\npolicy \"sample\" {}\n"))
	for remote, want := range map[string]string{service: "wlan0", "198.51.100.7:80": "", "172.17.0.2:80": ""} {
		ask(t, bed, configured, remote).until(want)
		ask(t, bed, automatic, remote).until(want)
	}
	// The tunnel takes all traffic. The daemon goes around it only if that is
	// configured.
	via("0.0.0.0/1")
	via("128.0.0.0/1")
	ask(t, bed, automatic, service).until("10.9.0.2")
	ask(t, bed, configured, service).until("wlan0")
}

// Networks changed while the daemon was stopped, as on a suspended host. The daemon
// sees the changes afterwards.
func TestChangesWhileStopped(t *testing.T) {
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	a := ask(t, bed, d, service)
	a.until("wlan0")
	d.Signal(t, syscall.SIGSTOP)
	link, err := bed.Client.Handle().LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Client.Handle().LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	d.Signal(t, syscall.SIGCONT)
	a.until("wwan0")
}

// An IPv6 network renumbers. The new address is suggested as soon as the old one is
// deprecated. An address that is gone is never suggested.
func TestRenumbering(t *testing.T) {
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	a := ask(t, bed, d, "[2001:db8:ffff::1]:80")
	n := bed.Networks[0]
	a.address(n.Client6)
	h := bed.Client.Handle()
	link, err := h.LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(netlink.Link, *netlink.Addr) error, addr netip.Addr, preferred int) {
		t.Helper()
		const forever = 1<<32 - 1
		if preferred != 0 {
			preferred = forever
		}
		if err := f(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, 64)), Flags: unix.IFA_F_NODAD, ValidLft: forever, PreferedLft: preferred}); err != nil {
			t.Fatal(err)
		}
	}
	second := n.Client6.Next()
	change(h.AddrAdd, second, 1)
	change(h.AddrReplace, n.Client6, 0)
	a.address(second)

	renumbered := netip.MustParseAddr("2001:db8:99::2")
	change(h.AddrAdd, renumbered, 1)
	change(h.AddrDel, second, 1)
	change(h.AddrDel, n.Client6, 0)
	a.address(renumbered)
}

// The address of the privacy extensions is suggested as soon as the kernel has made one
// (RFC 8981). Without one, the stable address is suggested.
func TestTemporaryAddress(t *testing.T) {
	bed := laptop(t)
	n := bed.Networks[0]
	for key, value := range map[string]string{"use_tempaddr": "2", "accept_dad": "0", "dad_transmits": "0"} {
		if err := bed.Client.Sysctl("net.ipv6.conf.wlan0."+key, value); err != nil {
			t.Skipf("needs a kernel with the privacy extensions: %v", err)
		}
	}
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	a := ask(t, bed, d, "[2001:db8:ffff::1]:80")
	a.address(n.Client6)
	h := bed.Client.Handle()
	link, err := h.LinkByName("wlan0")
	if err != nil {
		t.Fatal(err)
	}
	// This flag makes the kernel add temporary addresses beside this one.
	stable := netip.PrefixFrom(n.Client6.Next(), 64)
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(stable), Flags: unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NODAD, ValidLft: 3600, PreferedLft: 3600}); err != nil {
		t.Fatal(err)
	}
	addrs, err := h.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TEMPORARY != 0 })
	if at < 0 {
		t.Skip("needs a kernel that makes temporary addresses: CONFIG_IPV6 with privacy extensions")
	}
	temporary, _ := netip.AddrFromSlice(addrs[at].IP)
	a.address(temporary)
	if err := h.AddrDel(link, &netlink.Addr{IPNet: ipNet(stable)}); err != nil { // the temporary addresses are removed with it
		t.Fatal(err)
	}
	a.address(n.Client6)
}

// An interface is replaced by another one of the same name, for instance when a modem
// is plugged in again.
func TestInterfaceReplaced(t *testing.T) {
	bed := laptop(t)
	d := start(t, bed.Client, write(t, "policy.conf", plainConf))
	a := ask(t, bed, d, service)
	a.until("wlan0")
	old := d.prefixes(t)["wwan0"].Index
	n := bed.Networks[1]
	client, gateway := bed.Client.Handle(), n.Server.Handle()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	link, err := client.LinkByName("wwan0")
	check(err)
	check(client.LinkDel(link))
	d.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if _, there := p["wwan0"]; there {
			return "wwan0 is still there"
		}
		return ""
	})
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wwan0"
	check(client.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lan", PeerNamespace: netlink.NsFd(n.Server.FD())}))
	for _, end := range []struct {
		h    *netlink.Handle
		name string
		addr netip.Addr
	}{{gateway, "lan", n.Gateway4}, {client, "wwan0", n.Client4}} {
		l, err := end.h.LinkByName(end.name)
		check(err)
		check(end.h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(end.addr, 24))}))
		check(end.h.LinkSetUp(l))
		if end.name == "wwan0" {
			check(end.h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: n.Gateway4.AsSlice(), Priority: 200}))
		}
	}
	d.state(t, "wwan0", "up", "")
	if got := d.prefixes(t)["wwan0"]; got.Index == old || got.Device == nil || *got.Device != "wwan0" {
		t.Errorf("shown as %+v, was index %d", got, old)
	}
	wlan, err := client.LinkByName("wlan0")
	check(err)
	check(client.LinkSetDown(wlan))
	a.until("wwan0")
	if n, took := startDialer(t, bed, d.socket).dial(service); n != "wwan0" {
		t.Errorf("connected by %s after %v", n, took)
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
