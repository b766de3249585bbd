package system

import (
	"bytes"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// With AI_ADDRCONFIG the daemon gives results of the same families as getaddrinfo of
// glibc beside it, while addresses come and go. getent(1) uses that flag.
func TestAddrConfigAsGlibc(t *testing.T) {
	if out, err := exec.Command("getent", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GLIBC")) && !bytes.Contains(out, []byte("GNU")) {
		t.Skip("needs getent of glibc")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}}})
	by := over(t, write(t, "hosts", "192.0.2.9 two.test\n2001:db8::9 two.test\n"), "/etc/hosts")
	d := startBy(t, bed.Client, by)

	h := bed.Client.Handle()
	link := func(name string) netlink.Link {
		l, err := h.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// flush removes the chosen addresses.
	flush := func(chosen func(net.IP) bool) {
		list, err := h.AddrList(link("wlan0"), netlink.FAMILY_ALL)
		must(err)
		for i := range list {
			if chosen(list[i].IP) {
				must(h.AddrDel(link("wlan0"), &list[i]))
			}
		}
	}
	add := func(name, address string) {
		p := netip.MustParsePrefix(address)
		must(h.AddrAdd(link(name), &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}))
	}
	for _, tt := range []struct {
		name   string
		change func()
		want   string // families
	}{
		{"both", func() {}, "4 6"},
		{"IPv6 for the link only", func() { flush(func(a net.IP) bool { return a.To4() == nil && !a.IsLinkLocalUnicast() }) }, "4 6"},
		{"no IPv6", func() { flush(func(a net.IP) bool { return a.To4() == nil }) }, "4"},
		{"on a link that is down", func() { must(h.LinkSetDown(link("wlan0"))) }, "4"},
		{"nothing but loopback", func() { flush(func(net.IP) bool { return true }) }, "4 6"},
		{"another address of loopback", func() { add("lo", "127.0.0.2/32") }, "4"},
		{"both on loopback", func() { add("lo", "2001:db8:7::1/128") }, "4 6"},
	} {
		tt.change()
		getent := exec.Command(by[0], append(append([]string{}, by[1:]...), "getent", "ahosts", "two.test")...)
		var out bytes.Buffer
		getent.Stdout = &out
		must(bed.Client.Run(getent))
		var addrs []netip.Addr
		for line := range strings.Lines(out.String()) {
			a, err := netip.ParseAddr(strings.Fields(line)[0])
			must(err)
			addrs = append(addrs, a)
		}
		if got := familiesOf(addrs); got != tt.want {
			t.Errorf("%s: glibc gives families %q, want %q", tt.name, got, tt.want)
		}
		request, err := (&wire.Message{Action: wire.ActionResolveRequest, Context: wire.Context{
			Hostname: "two.test", Service: "80", Hint: []wire.AddrInfo{{Flags: 0x20, Type: wire.SockStream}},
		}}).Append(nil)
		must(err)
		stage.Until(t, tt.name+": the daemon gives families "+tt.want, func() bool {
			var addrs []netip.Addr
			for _, r := range exchange(t, d.socket, request).Context.Result {
				addrs = append(addrs, r.Addr.AddrPort.Addr())
			}
			return familiesOf(addrs) == tt.want
		})
	}
}

// familiesOf names the families of the addresses in a list.
func familiesOf(list []netip.Addr) string {
	var four, six bool
	for _, a := range list {
		four, six = four || a.Is4(), six || a.Is6()
	}
	switch {
	case four && six:
		return "4 6"
	case four:
		return "4"
	case six:
		return "6"
	}
	return ""
}
