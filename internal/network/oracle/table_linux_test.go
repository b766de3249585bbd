package oracle_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// routes shows the routes of a table roughly as ip(8) would.
func (h *host) routes(f oracle.Filter) []string {
	h.Helper()
	list := []string{}
	err := h.Routes(f, func(r *oracle.Route) bool {
		text := r.Prefix.String()
		if r.From.IsValid() {
			text += " from " + r.From.String()
		}
		for _, s := range r.Hops {
			text += " dev " + h.name(s.Index)
			if s.Gateway.IsValid() {
				text += " via " + s.Gateway.String()
			}
			if s.Weight > 1 {
				text += fmt.Sprintf(" weight %d", s.Weight)
			}
			if s.OnLink {
				text += " onlink"
			}
		}
		if r.Metric != 0 {
			text += fmt.Sprintf(" metric %d", r.Metric)
		}
		if r.Object != 0 {
			text += fmt.Sprintf(" nhid %d", r.Object)
		}
		if r.Preference != 0 {
			text += fmt.Sprintf(" pref %d", r.Preference)
		}
		if r.Metrics != "" {
			text += fmt.Sprintf(" metrics %d", len(r.Metrics))
		}
		if r.Expires != 0 {
			text += " expires"
		}
		list = append(list, text)
		return true
	})
	if err != nil {
		h.Fatal(err)
	}
	return list
}

const made = `
nexthop add id 10 via 192.168.0.1 dev wlan0
nexthop add id 11 via 10.64.3.1 dev wwan0
nexthop add id 12 group 10,2/11
route add default via 192.168.0.1 dev wlan0 metric 100 mtu lock 1300 advmss 1200 initcwnd 30 table 77
route add 198.18.1.0/24 table 77 nexthop via 192.168.0.1 dev wlan0 weight 3 nexthop via 10.64.3.1 dev wwan0
route add 198.18.2.0/24 via inet6 fe80::7 dev wwan0 table 77
route add 198.18.3.0/24 via 10.99.0.1 dev wwan0 onlink table 77
route add 198.18.4.0/24 nhid 12 table 77
route add 198.18.5.0/24 dev wlan0 src 192.168.0.23 table 77
route add blackhole 198.18.6.0/24 table 77
-6 address add 2a00:a::23/64 dev wlan0 nodad
-6 nexthop add id 14 via fe80::1 dev wlan0
-6 nexthop add id 15 via fe80::2 dev wlan0
-6 route add default from 2a00:a::/56 via fe80::1 dev wlan0 metric 5 pref high table 77
-6 route add 2001:db8:7::/48 via fe80::1 dev wlan0 expires 1000 table 77
-6 route append 2001:db8:8::/48 nhid 14 metric 7 pref low table 77
-6 route append 2001:db8:8::/48 nhid 15 metric 7 pref high table 77
-6 route add 2001:db8:9::/48 table 77 nexthop via fe80::3 dev wlan0 weight 2 nexthop via fe80::4 dev wwan0
`

// Routes are read with everything that belongs to them. A route that is written from that
// is read as the same.
func TestRoutes(t *testing.T) {
	t.Parallel()
	h := newHost(t, uplinks+made)
	want4 := []string{
		"0.0.0.0/0 dev wlan0 via 192.168.0.1 metric 100 metrics 32",
		"198.18.1.0/24 dev wlan0 via 192.168.0.1 weight 3 dev wwan0 via 10.64.3.1",
		"198.18.2.0/24 dev wwan0 via fe80::7",
		"198.18.3.0/24 dev wwan0 via 10.99.0.1 onlink",
		"198.18.4.0/24 dev wlan0 via 192.168.0.1 weight 2 dev wwan0 via 10.64.3.1 nhid 12",
		"198.18.5.0/24 dev wlan0",
		"198.18.6.0/24",
	}
	if diff := cmp.Diff(want4, h.routes(oracle.Filter{Table: 77})); diff != "" {
		t.Errorf("IPv4 (-want +got)\n%s", diff)
	}
	want6 := []string{
		"2001:db8:7::/48 dev wlan0 via fe80::1 metric 1024 expires",
		"2001:db8:8::/48 dev wlan0 via fe80::1 metric 7 nhid 14 pref 3",
		"2001:db8:8::/48 dev wlan0 via fe80::2 metric 7 nhid 15 pref 1",
		"2001:db8:9::/48 dev wlan0 via fe80::3 weight 2 dev wwan0 via fe80::4 metric 1024",
		"::/0 from 2a00:a::/56 dev wlan0 via fe80::1 metric 5 pref 1",
	}
	got6 := h.routes(oracle.Filter{V6: true, Table: 77})
	slices.Sort(got6)
	if diff := cmp.Diff(want6, got6); diff != "" {
		t.Errorf("IPv6 (-want +got)\n%s", diff)
	}

	// We write the same routes into another table.
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: h.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, v6 := range []bool{false, true} {
		var copies [][]byte
		if err := h.Routes(oracle.Filter{V6: v6, Table: 77}, func(r *oracle.Route) bool {
			c := *r
			c.Table = 78
			copies = append(copies, c.Append(nil))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for _, b := range copies {
			m := netlink.Message{Header: netlink.Header{Type: unix.RTM_NEWROUTE, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Append}, Data: b}
			if _, err := c.Execute(m); err != nil {
				t.Errorf("%x: %v", b, err)
			}
		}
		if diff := cmp.Diff(h.routes(oracle.Filter{V6: v6, Table: 77}), h.routes(oracle.Filter{V6: v6, Table: 78})); diff != "" {
			t.Errorf("IPv6 %v (-original +copy)\n%s", v6, diff)
		}
	}
	if got := h.routes(oracle.Filter{Table: 77, Device: h.index("wlan0")}); len(got) != 4 {
		t.Errorf("by wlan0: %s", strings.Join(got, "\n"))
	}
	if got := h.routes(oracle.Filter{Table: 79}); len(got) != 0 {
		t.Errorf("of a table that there is not: %s", strings.Join(got, "\n"))
	}
	if n, err := h.FreeTable(77); n != 79 || err != nil {
		t.Errorf("free table %d, %v", n, err)
	}
	if n, refuses, err := h.Metrics(false); n != 700 || refuses != nil || err != nil {
		t.Errorf("largest metric %d, one refuses: %t, %v", n, refuses != nil, err)
	}
	h.ip("route add unreachable default metric 9000\nroute add prohibit default metric 4294967295\nroute add blackhole default metric 7 table 90\nroute add blackhole 203.0.113.0/24 table 90")
	if n, refuses, err := h.Metrics(false); n != 700 || refuses == nil || *refuses != 9000 || err != nil {
		t.Errorf("largest metric %d, one refuses: %t, %v", n, refuses != nil, err)
	}
	var refusing []string
	list, err := h.Refusing(false)
	for _, r := range list {
		refusing = append(refusing, fmt.Sprint(r.Table, " ", r.Metric))
	}
	slices.Sort(refusing)
	if diff := cmp.Diff([]string{"254 4294967295", "254 9000", "90 7"}, refusing); diff != "" || err != nil {
		t.Errorf("routes that refuse: %v (-want +got)\n%s", err, diff)
	}
	h.ip("route add blackhole default")
	if n, refuses, err := h.Metrics(false); n != 700 || refuses == nil || *refuses != 0 || err != nil {
		t.Errorf("largest metric %d, one without a metric refuses: %t, %v", n, refuses != nil, err)
	}
	h.ip("route del blackhole default metric 0")
	objects := map[int]int{}
	if err := h.Objects(func(o oracle.Object) { objects[o.ID] = len(o.Group) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int]int{10: 0, 11: 0, 12: 2, 14: 0, 15: 0}, objects); diff != "" {
		t.Errorf("objects (-want +got)\n%s", diff)
	}
}

// If all default routes are for certain sources, the kernel says that there is no route for
// a socket without a source. Nevertheless it gives the socket a source and sends.
func TestSourceSpecificOnly(t *testing.T) {
	t.Parallel()
	h := newHost(t, `
-6 address add 2a00:a::23/64 dev wlan0 nodad
-6 address add 2a00:b::23/64 dev wlan0 nodad
-6 route add default from 2a00:a::/56 via fe80::1 dev wlan0 metric 512
-6 route add default from 2a00:b::/56 via fe80::2 dev wlan0 metric 512
`)
	dst := netip.MustParseAddr("2a02:cafe::7")
	a, err := h.Match(oracle.Question{Dst: dst})
	if got, want := h.shown(a), "::/0: fe80::2 wlan0 metric 512"; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	w, err := oracle.Everywhere{}.Far(h, true, oracle.Question{})
	if err != nil || w.Verdict != oracle.Sent || w.Source != netip.MustParseAddr("2a00:b::23") || w.Gateway != netip.MustParseAddr("fe80::2") {
		t.Errorf("the way to everywhere: %+v, %v", w, err)
	}
	if a, err = h.Match(oracle.Question{Dst: netip.MustParseAddr("2a02:cafe::8"), Src: netip.MustParseAddr("2a00:a::23")}); err != nil || a.Gateway != netip.MustParseAddr("fe80::1") {
		t.Errorf("from the other source: %+v, %v", a, err)
	}
}
