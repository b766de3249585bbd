package oracle_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// reacher offers wlan0, and wwan0 bound by device.
func (h *host) reacher(change func(*oracle.Scope)) *oracle.Reacher {
	h.Helper()
	scope := oracle.Scope{
		Loopback: h.index("lo"), Devices: []int{h.index("wlan0"), h.index("wwan0")}, Origins: h.origins("wwan0", true),
		Zone: func(zone string) int {
			l, err := h.ns.Handle().LinkByName(zone)
			if err != nil {
				return 0
			}
			return l.Attrs().Index
		},
	}
	if change != nil {
		change(&scope)
	}
	return oracle.NewReacher(h.Kernel, scope)
}

// origins returns the addresses of a link, except link-local ones.
func (h *host) origins(link string, bound bool) (list []oracle.Origin) {
	h.Helper()
	l, err := h.ns.Handle().LinkByName(link)
	if err != nil {
		h.Fatal(err)
	}
	addrs, err := h.ns.Handle().AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		h.Fatal(err)
	}
	for i := range addrs {
		if a, ok := netip.AddrFromSlice(addrs[i].IP); ok && a.IsGlobalUnicast() {
			list = append(list, oracle.Origin{Index: l.Attrs().Index, Source: a.Unmap(), Bound: bound})
		}
	}
	return list
}

// reach shows the networks that can carry a flow.
func (h *host) reach(r *oracle.Reacher, f oracle.Flow) string {
	got := r.Reach(f)
	words := []string{"any"}
	if got.Specific {
		words = []string{h.name(got.Index)}
		for _, i := range got.Others {
			words = append(words, h.name(i))
		}
		if got.Source.IsValid() {
			words = append(words, "from", got.Source.String())
		}
	}
	for i := range got.Not {
		words = append(words, "but", got.NotFrom[i].String(), h.name(got.Not[i]))
	}
	return strings.Join(words, " ")
}

func TestReach(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, setup string
		want        map[string]string
	}{
		{"two uplinks", uplinks + `
			address add 172.17.0.1/16 dev tun0
			route add blackhole 198.18.1.0/24
			route add 198.18.2.0/24 via 10.64.3.7 dev wwan0
			route add 198.18.4.0/24 nexthop via 192.168.0.7 dev wlan0 nexthop via 10.64.3.7 dev wwan0
			route add 169.254.0.0/16 dev wlan0 metric 1000`, map[string]string{
			"198.18.0.1": "any", "::ffff:198.18.0.1": "any", "10.64.3.7": "wwan0 from 10.64.3.9", "172.17.0.2": "tun0 from 172.17.0.1",
			"127.0.0.1": "lo", "0.0.0.0": "lo", "192.168.0.23": "lo", "198.18.1.1": "-", "198.18.2.1": "wwan0 from 10.64.3.9",
			"198.18.4.1": "wlan0 wwan0", "169.254.169.254": "wlan0 from 192.168.0.23",
			"2001:db8::1": "any", "::1": "lo", "fe80::9%wlan0": "wlan0", "fe80::9": "-", "ff02::1%wwan0": "wwan0", "ff0e::1": "-",
		}},
		{"the same network on both", `
			address add 192.168.8.100/24 dev wlan0
			address add 192.168.8.100/24 dev wwan0 metric 200
			route add default via 192.168.8.1 dev wlan0 metric 100
			route add default via 192.168.8.1 dev wwan0 metric 101`, map[string]string{
			"192.168.8.1": "wlan0 wwan0 from 192.168.8.100", "198.18.0.1": "any",
		}},
		{"a network within another's: the narrower only", uplinks + `
			address add 192.168.0.129/25 dev wwan0`, map[string]string{
			"192.168.0.130": "wwan0 from 192.168.0.129", "192.168.0.7": "wlan0 from 192.168.0.23",
		}},
		{"a tailnet", uplinks + `
			address add 100.64.7.7/32 dev tun0
			rule add fwmark 0x80000/0xff0000 lookup main priority 5210
			rule add fwmark 0x80000/0xff0000 lookup default priority 5230
			rule add fwmark 0x80000/0xff0000 unreachable priority 5250
			rule add lookup 52 priority 5270
			route add 100.101.1.9 dev tun0 table 52
			route add 10.77.0.0/16 dev tun0 table 52`, map[string]string{
			"100.101.1.9": "tun0 from 100.64.7.7", "10.77.3.4": "tun0 from 100.64.7.7", "100.101.1.10": "any", "10.64.3.7": "wwan0 from 10.64.3.9",
		}},
		{"a full tunnel, and what it leaves out", uplinks + `
			address add 10.8.0.6/24 dev tun0
			route add 0.0.0.0/1 dev tun0
			route add 128.0.0.0/1 dev tun0
			route add 198.18.0.7 via 192.168.0.1 dev wlan0`, map[string]string{
			"203.0.113.1": "any", "198.18.0.7": "wlan0 from 192.168.0.23", "192.168.0.7": "wlan0 from 192.168.0.23", "10.8.0.1": "tun0 from 10.8.0.6",
		}},
		{"no default but an unreachable one", "address add 192.168.0.23/24 dev wlan0\nroute add unreachable default metric 4278198272", map[string]string{
			"198.18.0.1": "any", "192.168.0.7": "wlan0 from 192.168.0.23",
		}},
		{"half of everything by one of them", uplinks + "route add blackhole 198.18.7.0/24 table 7\nrule add oif wwan0 lookup 7 priority 9", map[string]string{
			"198.18.0.1": "any", "198.18.7.1": "any but 10.64.3.9 wwan0",
		}},
		{"refused to one source on its way to some destinations", uplinks + `
			rule add from 10.64.3.0/24 to 198.18.1.0/24 prohibit priority 101
			rule add from 10.64.3.0/24 to 198.18.2.0/24 unreachable priority 102
			rule add from 10.64.3.0/24 to 198.18.3.0/24 blackhole priority 103
			rule add from 10.64.3.0/24 to 10.64.3.7 prohibit priority 104
			rule add from 10.64.3.9 lookup 77 priority 105
			route add default via 10.64.3.1 dev wwan0 table 77
			route add prohibit 198.18.4.0/24 table 77`, map[string]string{
			"198.18.0.1": "any", "198.18.1.1": "any but 10.64.3.9 wwan0", "198.18.2.1": "any but 10.64.3.9 wwan0", "198.18.3.1": "any but 10.64.3.9 wwan0",
			"198.18.4.1": "any but 10.64.3.9 wwan0", "10.64.3.7": "wwan0 from 10.64.3.9 but 10.64.3.9 wwan0", "10.64.3.8": "wwan0 from 10.64.3.9",
		}},
		{"the same of IPv6", uplinks + `
			-6 address add 2001:db8:1::23/64 dev wlan0 nodad
			-6 address add 2001:db8:2::9/64 dev wwan0 nodad
			-6 route add default via fe80::1 dev wlan0 metric 100
			-6 route add default via fe80::2 dev wwan0 metric 700
			-6 rule add from 2001:db8:2::/64 to 2001:db8:a::/48 prohibit priority 101
			-6 rule add from 2001:db8:2::/64 to 2001:db8:b::/48 unreachable priority 102
			-6 rule add from 2001:db8:2::/64 to 2001:db8:c::/48 blackhole priority 103`, map[string]string{
			"2001:db8:7::1": "any", "2001:db8:a::1": "any but 2001:db8:2::9 wwan0", "2001:db8:b::1": "any but 2001:db8:2::9 wwan0",
			"2001:db8:c::1": "any but 2001:db8:2::9 wwan0", "2001:db8:2::7": "wwan0 from 2001:db8:2::9", "198.18.0.1": "any",
		}},
		{"a destination that a rule leads elsewhere", uplinks + "rule add to 198.18.3.0/24 lookup 77\nroute add default via 10.64.3.7 dev wwan0 table 77", map[string]string{
			"198.18.3.1": "wwan0 from 10.64.3.9", "198.18.4.1": "any",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, tt.setup)
			r := h.reacher(nil)
			for dst, want := range tt.want {
				for range 2 { // asked, remembered
					if got := h.reach(r, oracle.Flow{Dst: netip.MustParseAddr(dst)}); got != want {
						t.Errorf("%s: %q, want %q", dst, got, want)
					}
				}
			}
		})
	}
}

// A network whose sockets are bound only to its address is not offered if a rule about that
// address refuses the packets or leads them elsewhere.
func TestReachOfUnboundOrigins(t *testing.T) {
	t.Parallel()
	h := newHost(t, uplinks+`
		rule add from 10.64.3.9 to 198.18.1.0/24 prohibit priority 101
		rule add from 10.64.3.9 lookup 77 priority 105
		route add default via 10.64.3.1 dev wwan0 table 77
		route add 198.18.2.0/24 via 192.168.0.7 dev wlan0 table 77`)
	r := h.reacher(func(s *oracle.Scope) { s.Origins = h.origins("wwan0", false) })
	for dst, want := range map[string]string{"198.18.0.1": "any", "198.18.1.1": "any but 10.64.3.9 wwan0", "198.18.2.1": "any but 10.64.3.9 wwan0"} {
		if got := h.reach(r, oracle.Flow{Dst: netip.MustParseAddr(dst)}); got != want {
			t.Errorf("%s: %q, want %q", dst, got, want)
		}
	}
}

// Rules that look at more than addresses count for the flows that they match.
func TestReachSelectors(t *testing.T) {
	t.Parallel()
	users := userRule(t, "lookup 54")
	h := newHost(t, uplinks+users+`
		rule add ipproto tcp dport 443 lookup 55
		route add default via 10.64.3.1 dev wwan0 table 54
		route add default via 10.64.3.7 dev wwan0 table 55`)
	dst := netip.MustParseAddr("198.18.0.1")
	r := h.reacher(func(s *oracle.Scope) { s.User, s.Protocol, s.Port = true, true, true })
	for _, tt := range []struct {
		name string
		flow oracle.Flow
		want string
	}{
		{"nobody", oracle.Flow{Dst: dst}, "any"},
		{"a user", oracle.Flow{Dst: dst, User: user}, "wwan0 from 10.64.3.9"},
		{"another", oracle.Flow{Dst: dst, User: other}, "any"},
		{"a port", oracle.Flow{Dst: dst, User: other, Protocol: 6, Port: 443}, "wwan0 from 10.64.3.9"},
		{"another", oracle.Flow{Dst: dst, User: other, Protocol: 17, Port: 443}, "any"},
		{"somebody", oracle.Flow{Dst: dst, UserUnknown: true}, "-"},
	} {
		if tt.flow.User == user && users == "" {
			continue
		}
		if got := h.reach(r, tt.flow); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The user does not matter if no rule asks for it.
func TestReachOfAnybody(t *testing.T) {
	t.Parallel()
	h := newHost(t, uplinks)
	if got := h.reach(h.reacher(nil), oracle.Flow{Dst: netip.MustParseAddr("198.18.0.1"), UserUnknown: true}); got != "any" {
		t.Error(got)
	}
}

// Remembered answers are void as soon as something may have changed.
func TestReachIsVoid(t *testing.T) {
	t.Parallel()
	h := newHost(t, uplinks)
	r := h.reacher(nil)
	f := oracle.Flow{Dst: netip.MustParseAddr("198.18.2.1")}
	if got := h.reach(r, f); got != "any" {
		t.Fatal(got)
	}
	h.ip("route add 198.18.2.0/24 via 10.64.3.7 dev wwan0")
	h.Void()
	if got := h.reach(r, f); got != "wwan0 from 10.64.3.9" {
		t.Errorf("after a change: %q", got)
	}
}
