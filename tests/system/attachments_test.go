package system

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/operator/control"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// onLink calls f on an interface of the client, in its namespace.
func onLink(t *testing.T, bed *testbed.Bed, name string, f func(netlink.Link) error) {
	t.Helper()
	if err := bed.Client.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return f(l)
	}); err != nil {
		t.Fatal(err)
	}
}

// neighbour returns the link-layer address that the client's kernel knows for an address,
// or nil if it knows none.
func neighbour(t *testing.T, bed *testbed.Bed, name string, a netip.Addr) (hw net.HardwareAddr) {
	t.Helper()
	onLink(t, bed, name, func(l netlink.Link) error {
		list, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
		for _, n := range list {
			if n.IP.Equal(a.AsSlice()) {
				hw = n.HardwareAddr
			}
		}
		return err
	})
	return hw
}

func setNeighbour(t *testing.T, bed *testbed.Bed, name string, a netip.Addr, hw net.HardwareAddr) {
	t.Helper()
	onLink(t, bed, name, func(l netlink.Link) error {
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: a.AsSlice(), HardwareAddr: hw, State: netlink.NUD_PERMANENT})
	})
}

// hasFigures waits until a round-trip time of a network is known, or until none is.
func hasFigures(t *testing.T, m *daemon, name string, known bool) {
	t.Helper()
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if has := p[name].Path.SRTTMinMS != nil; has != known {
			if known {
				return name + " has no round-trip time"
			}
			return name + " has a round-trip time"
		}
		return ""
	})
}

// dialService connects the client to the service by the preferred network.
func dialService(t *testing.T, bed *testbed.Bed) (conn net.Conn) {
	t.Helper()
	if err := bed.Client.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", service, stage.Patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// measured waits until mamma has measured a connection, which is closed then.
func measured(t *testing.T, m *daemon, name string, conn net.Conn) {
	t.Helper()
	hasFigures(t, m, name, true)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// Another access point of the same Wi-Fi has the same address, prefix and gateway, but none
// of the measurements and doubts of the former one. These come back with the former one.
func TestAccessPoints(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs programs in namespaces")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	d := newDesktop(t, bed)
	first, second := dbus.ObjectPath(nmPath+"/AccessPoint/1"), dbus.ObjectPath(nmPath+"/AccessPoint/2")
	o := nmObjects(map[string]any{"Interface": "wlan0", "IpInterface": "wlan0", "DeviceType": uint32(2)})
	o[nmFirst+" "+nmWireless] = map[string]any{"ActiveAccessPoint": first, "Bitrate": uint32(54000)}
	for i, path := range []dbus.ObjectPath{first, second} {
		o[string(path)+" "+nmAccess] = map[string]any{"Ssid": []byte("Cafe"), "HwAddress": fmt.Sprintf("02:00:00:00:01:0%d", i), "Strength": byte(61)}
	}
	nm := d.serve(nmName, o)
	m := startBy(t, bed.Client, d.env)
	at := func(want string) {
		t.Helper()
		m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			if !slices.ContainsFunc(p["wlan0"].Facts, func(f control.Fact) bool {
				return f.Name == "access point" && f.Value == want && f.Source == "NetworkManager"
			}) {
				return fmt.Sprintf("not at %s: %+v", want, p["wlan0"].Facts)
			}
			return ""
		})
	}
	at("02:00:00:00:01:00")
	measured(t, m, "wlan0", dialService(t, bed))
	began := time.Now()
	nm.set(nmFirst, nmWireless, "ActiveAccessPoint", second)
	hasFigures(t, m, "wlan0", false)
	t.Logf("the figures of the old access point were gone %v after it was another one", time.Since(began).Round(time.Millisecond))
	at("02:00:00:00:01:01")
	nm.set(nmFirst, nmWireless, "ActiveAccessPoint", first)
	hasFigures(t, m, "wlan0", true)
	m.ctl(t, "forget", "wlan0")
	hasFigures(t, m, "wlan0", false)
	nm.set(nmFirst, nmWireless, "ActiveAccessPoint", second)
	at("02:00:00:00:01:01")
	nm.set(nmFirst, nmWireless, "ActiveAccessPoint", first)
	at("02:00:00:00:01:00")
	hasFigures(t, m, "wlan0", false)
}

// A telephone connected by cable suddenly gives another prefix. The next decision has the
// new address, and the figures of the gateway, which is the same.
func TestTetheredPrefixChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs programs in namespaces")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "usb0"}, {Name: "wlan0"}}})
	usb := bed.Network("usb0")
	conn := dialService(t, bed) // the kernel knows the gateway from now on
	m := start(t, bed.Client)
	a := ask(t, bed, m, service)
	a.until("usb0")
	measured(t, m, "usb0", conn)
	phone := neighbour(t, bed, "usb0", usb.Gateway4)
	if phone == nil {
		t.Fatal("the gateway's link-layer address is not known")
	}
	old := &netlink.Addr{IPNet: &net.IPNet{IP: usb.Client4.AsSlice(), Mask: net.CIDRMask(usb.Prefix4.Bits(), 32)}}
	client, gateway := netip.MustParseAddr("192.168.42.129"), netip.MustParseAddr("192.168.42.1")
	began := time.Now()
	onLink(t, bed, "usb0", func(l netlink.Link) error {
		if err := netlink.AddrDel(l, old); err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: client.AsSlice(), Mask: net.CIDRMask(24, 32)}}); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateway.AsSlice(), Priority: 50})
	})
	a.address(client)
	t.Logf("decided anew %v after the prefix began to change", time.Since(began).Round(time.Millisecond))
	setNeighbour(t, bed, "usb0", gateway, phone)
	hasFigures(t, m, "usb0", true)
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if p["usb0"].Prefix != "192.168.42.0/24" {
			return "usb0 has " + p["usb0"].Prefix
		}
		return ""
	})
}

// Two interfaces with the same prefix are two networks. One never has the other's figures,
// and it takes over when the other is lost.
func TestSamePrefixTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs programs in namespaces")
	}
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wlan1", NoDefault: true}}})
	first, other := bed.Network("wlan0"), bed.Network("wlan1")
	last := first.Prefix4.Addr().As4()
	last[3] = 77
	second := netip.AddrFrom4(last)
	onLink(t, bed, "wlan1", func(l netlink.Link) error {
		if err := netlink.AddrDel(l, &netlink.Addr{IPNet: &net.IPNet{IP: other.Client4.AsSlice(), Mask: net.CIDRMask(other.Prefix4.Bits(), 32)}}); err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: second.AsSlice(), Mask: net.CIDRMask(first.Prefix4.Bits(), 32)}}); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: first.Gateway4.AsSlice(), Priority: 300, Flags: int(netlink.FLAG_ONLINK)})
	})
	m := start(t, bed.Client)
	a := ask(t, bed, m, service)
	a.address(first.Client4)
	measured(t, m, "wlan0", dialService(t, bed))
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		w, x := p["wlan0"], p["wlan1"]
		if w.Prefix != x.Prefix || x.Path.SRTTMinMS != nil || w.Index == x.Index {
			return fmt.Sprintf("%s on wlan0, %s on wlan1 with a round-trip time of %v ms", w.Prefix, x.Prefix, x.Path.SRTTMinMS)
		}
		return ""
	})
	began := time.Now()
	onLink(t, bed, "wlan0", netlink.LinkSetDown)
	a.address(second)
	t.Logf("decided anew %v after the link went down", time.Since(began).Round(time.Millisecond))
	hasFigures(t, m, "wlan1", false)
}

// When logind says that the host wakes, names are looked up again, because they may have
// other addresses at the new place, and each service is asked again.
func TestWakes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs programs in namespaces")
	}
	const name = "www.example.net"
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}},
		Zone:     testbed.Zone{".": {"NS a.root.test."}, name: {"A 192.0.2.1"}},
	})
	wlan := bed.Network("wlan0")
	d := newDesktop(t, bed)
	logind := d.serve("org.freedesktop.login1", nil)
	m := startBy(t, bed.Client, d.env, write(t, "policy.conf", fmt.Sprintf("auto = true\npolicy \"threshold\" {}\ninterface \"wlan0\" { nameserver = [%q] }\n", wlan.Gateway4)))
	c := startDialer(t, bed, m.socket)
	count := func() int {
		types, _ := asked(wlan, name)
		return len(types)
	}
	for range 2 {
		if by, took := c.dial(name + ":80"); by != "wlan0" {
			t.Fatalf("connected by %q after %v", by, took)
		}
		c.drop()
	}
	before := count()
	if before == 0 {
		t.Fatal("the network's own name server was not asked")
	}
	sleeps := func(asleep bool) {
		t.Helper()
		if err := logind.conn.Emit("/org/freedesktop/login1", "org.freedesktop.login1.Manager.PrepareForSleep", asleep); err != nil {
			t.Fatal(err)
		}
	}
	sleeps(true)
	if c.dial(name + ":80"); count() != before {
		t.Errorf("asked %d times before sleep, and %d before it wakes", before, count())
	}
	c.drop()
	began := time.Now()
	stage.Until(t, "the name is asked anew", func() bool {
		sleeps(false) // again and again, because mamma may not have subscribed yet
		by, took := c.dial(name + ":80")
		c.drop()
		if by != "wlan0" {
			t.Fatalf("after waking connected by %q after %v", by, took)
		}
		return count() > before
	})
	t.Logf("asked anew %v after waking", time.Since(began).Round(time.Millisecond))
}

// A statement of NetworkManager about a network is tested once each time that it is
// made. On a network that costs something, it is tested only if nothing else is up.
func TestDoubtsAreProbed(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs programs in namespaces")
	}
	bed := testbed.ForTest(t, testbed.Config{
		Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}, Zone: testbed.Zone{".": {"NS a.root.test."}},
	})
	wlan := bed.Network("wlan0")
	d := newDesktop(t, bed)
	o := nmObjects(map[string]any{"Interface": "wlan0", "IpInterface": "wlan0", "DeviceType": uint32(1), "Metered": uint32(2), "Ip4Connectivity": uint32(4)})
	o[nmPath+" "+nmName]["ConnectivityCheckAvailable"], o[nmPath+" "+nmName]["ConnectivityCheckEnabled"] = true, true
	nm := d.serve(nmName, o)
	m := startBy(t, bed.Client, d.env, write(t, "policy.conf", fmt.Sprintf("auto = true\npolicy \"threshold\" {}\ninterface \"wlan0\" { nameserver = [%q] }\nprobe { interval = \"1s\" }\n", wlan.Gateway4)))
	probes := func() int {
		types, _ := asked(wlan, ".")
		return len(types)
	}
	says := func(connectivity uint32, state, reason string) {
		t.Helper()
		nm.set(nmFirst, nmDevice, "Ip4Connectivity", connectivity)
		m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
			h := p["wlan0"].Health
			got := ""
			if h.Reason != nil {
				got = *h.Reason
			}
			if h.State != state || got != reason {
				return fmt.Sprintf("wlan0 is %s: %s", h.State, got)
			}
			return ""
		})
	}
	const full, portal, limited = 4, 2, 3
	says(full, "up", "")
	if n := probes(); n != 0 {
		t.Errorf("%d probes without doubt", n)
	}
	says(limited, "suspect", "the Internet is not reached (NetworkManager)")
	stage.Until(t, "limited is probed", func() bool { return probes() == 1 })
	says(full, "up", "")
	says(portal, "suspect", "a portal wants its users to log in (NetworkManager)")
	stage.Until(t, "a portal is probed", func() bool { return probes() == 2 })
	says(full, "up", "")
	nm.set(nmFirst, nmDevice, "Metered", uint32(1))
	m.within(t, stage.Patience, func(p map[string]control.Prefix) string {
		if c := p["wlan0"].Cost; c != "metered" {
			return "wlan0 costs " + c
		}
		return ""
	})
	says(limited, "suspect", "the Internet is not reached (NetworkManager)")
	onLink(t, bed, "wwan0", netlink.LinkSetDown)
	stage.Until(t, "the only network is probed although it is metered", func() bool { return probes() == 3 })
}
