package netmon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// address makes a usable address, whose value tells its scope.
func address(index int, prefix string) Addr {
	p := netip.MustParsePrefix(prefix)
	return Addr{Index: index, Prefix: p, Scope: ScopeOf(p.Addr())}
}

func links() []Link {
	return []Link{
		{Index: 1, Name: "lo", Type: "device", Up: true, Running: true, Loopback: true},
		{Index: 2, Name: "wlan0", Type: "device", Up: true, Running: true},
		{Index: 3, Name: "wwan0", Type: "device", Up: true},
		{Index: 4, Name: "down0", Type: "device"},
		{Index: 5, Name: "lowpan0", Type: "device", Up: true, Running: true},
		{Index: 6, Name: "wg0", Type: "wireguard", Up: true, Running: true, PointToPoint: true},
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	deprecated := func(a Addr) Addr { a.Deprecated = true; return a }
	temporary := func(a Addr) Addr { a.Temporary = true; return a }
	unusable := func(a Addr) Addr { a.Unusable = true; return a }
	type prefix struct {
		Interface, Prefix string
		Addrs             []string
		Scope             Scope
	}
	for _, tt := range []struct {
		name  string
		addrs []Addr
		want  []prefix
	}{
		{"none", nil, nil},
		{
			"families and interfaces in order, whatever the order given",
			[]Addr{address(2, "2001:db8:1::2/64"), address(2, "fe80::2/64"), address(3, "10.2.0.2/24"), address(2, "10.1.0.2/24"), address(1, "127.0.0.1/8"), address(1, "::1/128")},
			[]prefix{
				{"lo", "127.0.0.0/8", []string{"127.0.0.1"}, ScopeHost},
				{"wlan0", "10.1.0.0/24", []string{"10.1.0.2"}, ScopeGlobal},
				{"wwan0", "10.2.0.0/24", []string{"10.2.0.2"}, ScopeGlobal},
				{"lo", "::1/128", []string{"::1"}, ScopeHost},
				{"wlan0", "2001:db8:1::/64", []string{"2001:db8:1::2"}, ScopeGlobal},
				{"wlan0", "fe80::/64", []string{"fe80::2"}, ScopeLink},
			},
		},
		{
			"one prefix, two addresses",
			[]Addr{address(2, "10.0.1.2/24"), address(2, "10.0.1.77/24")},
			[]prefix{{"wlan0", "10.0.1.0/24", []string{"10.0.1.2", "10.0.1.77"}, ScopeGlobal}},
		},
		{
			"a longer one joins an earlier shorter one",
			[]Addr{address(2, "10.0.0.1/8"), address(2, "10.1.0.1/16")},
			[]prefix{{"wlan0", "10.0.0.0/8", []string{"10.0.0.1", "10.1.0.1"}, ScopeGlobal}},
		},
		{
			"a shorter one does not join an earlier longer one",
			[]Addr{address(2, "10.1.0.1/16"), address(2, "10.0.0.1/8"), address(2, "10.1.0.2/24")},
			[]prefix{
				{"wlan0", "10.1.0.0/16", []string{"10.1.0.1", "10.1.0.2"}, ScopeGlobal},
				{"wlan0", "10.0.0.0/8", []string{"10.0.0.1"}, ScopeGlobal},
			},
		},
		{
			"one without a length joins its network, wherever it is listed",
			[]Addr{address(2, "2a00:a::1234/128"), address(2, "2a00:a::23/64"), address(2, "10.0.0.9/32"), address(2, "10.0.0.2/24"), address(3, "2a00:a::99/128")},
			[]prefix{
				{"wlan0", "10.0.0.0/24", []string{"10.0.0.2", "10.0.0.9"}, ScopeGlobal},
				{"wlan0", "2a00:a::/64", []string{"2a00:a::23", "2a00:a::1234"}, ScopeGlobal},
				{"wwan0", "2a00:a::99/128", []string{"2a00:a::99"}, ScopeGlobal},
			},
		},
		{
			"the same prefix on two interfaces",
			[]Addr{address(2, "fe80::2/64"), address(3, "fe80::3/64"), address(5, "fe80::5/64")},
			[]prefix{
				{"wlan0", "fe80::/64", []string{"fe80::2"}, ScopeLink},
				{"wwan0", "fe80::/64", []string{"fe80::3"}, ScopeLink},
				{"lowpan0", "fe80::/64", []string{"fe80::5"}, ScopeLink},
			},
		},
		{
			"best address first",
			[]Addr{deprecated(temporary(address(2, "2001:db8::1/64"))), deprecated(address(2, "2001:db8::2/64")), address(2, "2001:db8::3/64"), temporary(address(2, "2001:db8::4/64")), unusable(address(2, "2001:db8::5/64"))},
			[]prefix{{"wlan0", "2001:db8::/64", []string{"2001:db8::4", "2001:db8::3", "2001:db8::1", "2001:db8::2"}, ScopeGlobal}},
		},
		{
			"nothing of what cannot be used",
			[]Addr{unusable(address(2, "2001:db8::5/64")), address(4, "10.4.0.1/24"), address(9, "10.9.0.1/24")},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []prefix
			for _, p := range NewSnapshot(State{Links: links(), Addrs: tt.addrs}).Prefixes() {
				q := prefix{Interface: p.Interface, Prefix: p.Prefix.String(), Scope: p.Scope}
				for _, a := range p.Addrs {
					q.Addrs = append(q.Addrs, a.String())
				}
				got = append(got, q)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// sent makes a way by an interface. Without a gateway, it leads to the link.
func sent(index int, gateway string, metric int) oracle.Way {
	w := oracle.Way{Verdict: oracle.Sent, Hop: oracle.Hop{Index: index}, Table: TableMain, Metric: metric}
	if gateway != "" {
		w.Gateway = netip.MustParseAddr(gateway)
	}
	return w
}

// from makes the vantage of a socket that is bound to an address ("" for none) and perhaps
// to a device.
func from(source string, device int) Vantage {
	switch source {
	case "4":
		return Vantage{netip.IPv4Unspecified(), device}
	case "6":
		return Vantage{netip.IPv6Unspecified(), device}
	}
	return Vantage{netip.MustParseAddr(source), device}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	refused := func(v oracle.Verdict) oracle.Way { return oracle.Way{Verdict: v} }
	chosen := func(w oracle.Way, source string) oracle.Way { w.Source = netip.MustParseAddr(source); return w }
	named := func(w oracle.Way, source string) oracle.Way {
		w.Named = netip.MustParseAddr(source)
		w.Source = w.Named
		return w
	}
	shared := func(w oracle.Way) oracle.Way { w.Shared = true; return w }
	table := func(w oracle.Way, n int) oracle.Way { w.Table = n; return w }
	type row struct {
		Prefix, Addrs string
		Default       bool
		Gateway       string
		Egress        int
		Note          string
	}
	for _, tt := range []struct {
		name   string
		addrs  []Addr
		ways   map[Vantage]oracle.Way
		barred []string
		want   []row
	}{
		{
			"by address, by device, not at all",
			[]Addr{address(2, "10.1.0.2/24"), address(3, "10.2.0.2/24"), address(5, "10.5.0.2/24")},
			map[Vantage]oracle.Way{
				from("4", 0): sent(2, "10.1.0.1", 100), from("10.1.0.2", 0): sent(2, "10.1.0.1", 100), from("10.2.0.2", 0): sent(2, "10.1.0.1", 100),
				from("10.2.0.2", 3): sent(3, "10.2.0.1", 700), from("10.5.0.2", 0): sent(2, "10.1.0.1", 100),
			}, nil,
			[]row{
				{"10.1.0.0/24", "[10.1.0.2]", true, "10.1.0.1", 2, ""},
				{"10.2.0.0/24", "[10.2.0.2]", true, "10.2.0.1", 2, ""},
				{"10.5.0.0/24", "[10.5.0.2]", false, "invalid IP", 2, ""},
			},
		},
		{
			"by a rule", []Addr{address(3, "10.2.0.2/24")},
			map[Vantage]oracle.Way{from("4", 0): sent(2, "10.1.0.1", 100), from("10.2.0.2", 0): table(sent(3, "10.2.0.1", 0), 77)}, nil,
			[]row{{"10.2.0.0/24", "[10.2.0.2]", true, "10.2.0.1", 3, "ruled"}},
		},
		{
			"connections spread over two interfaces: bound to the device", []Addr{address(2, "10.1.0.2/24")},
			map[Vantage]oracle.Way{from("10.1.0.2", 0): shared(sent(2, "10.1.0.1", 0)), from("10.1.0.2", 2): sent(2, "10.1.0.1", 0)}, nil,
			[]row{{"10.1.0.0/24", "[10.1.0.2]", true, "10.1.0.1", 0, ""}},
		},
		{
			"a device that does not bind, as with a group of next-hop objects of IPv6", []Addr{address(2, "2a00:a::23/64"), address(3, "2a00:b::9/64")},
			map[Vantage]oracle.Way{
				from("2a00:a::23", 0): shared(sent(2, "fe80::1", 0)), from("2a00:a::23", 2): shared(sent(2, "fe80::1", 0)),
				from("2a00:b::9", 0): table(sent(3, "fe80::2", 0), 77),
			}, nil,
			[]row{{"2a00:a::/64", "[2a00:a::23]", false, "invalid IP", 0, ""}, {"2a00:b::/64", "[2a00:b::9]", true, "fe80::2", 3, "ruled"}},
		},
		{
			"the page of a modem: the gateway is in the other network", []Addr{address(2, "192.168.100.2/24"), address(2, "100.64.5.9/20")},
			map[Vantage]oracle.Way{from("192.168.100.2", 0): sent(2, "100.64.0.1", 100), from("100.64.5.9", 0): sent(2, "100.64.0.1", 100)}, nil,
			[]row{
				{"192.168.100.0/24", "[192.168.100.2]", false, "invalid IP", 2, ""},
				{"100.64.0.0/20", "[100.64.5.9]", true, "100.64.0.1", 2, ""},
			},
		},
		{
			"unique local beside global; of a VPN", []Addr{address(2, "fd12:3456::23/64"), address(2, "2a00:a::23/64"), address(6, "fd00:9::2/128")},
			map[Vantage]oracle.Way{from("fd12:3456::23", 0): sent(2, "fe80::1", 100), from("2a00:a::23", 0): sent(2, "fe80::1", 100), from("fd00:9::2", 0): sent(6, "", 0)}, nil,
			[]row{
				{"fd12:3456::/64", "[fd12:3456::23]", false, "invalid IP", 2, ""},
				{"2a00:a::/64", "[2a00:a::23]", true, "fe80::1", 2, ""},
				{"fd00:9::2/128", "[fd00:9::2]", true, "invalid IP", 6, ""},
			},
		},
		{
			"the address that the route names", []Addr{address(2, "192.168.0.23/24"), address(2, "192.168.0.50/24")},
			map[Vantage]oracle.Way{from("4", 2): chosen(sent(2, "192.168.0.1", 100), "192.168.0.50"), from("192.168.0.50", 0): sent(2, "192.168.0.1", 100)}, nil,
			[]row{{"192.168.0.0/24", "[192.168.0.50 192.168.0.23]", true, "192.168.0.1", 2, ""}},
		},
		{
			"the same address on two sticks", []Addr{address(2, "192.168.8.100/24"), address(3, "192.168.8.100/24")},
			map[Vantage]oracle.Way{
				from("192.168.8.100", 0): sent(2, "192.168.8.1", 100),
				from("192.168.8.100", 2): sent(2, "192.168.8.1", 100), from("192.168.8.100", 3): sent(3, "192.168.8.1", 101),
			}, nil,
			[]row{
				{"192.168.8.0/24", "[192.168.8.100]", true, "192.168.8.1", 2, "twin"},
				{"192.168.8.0/24", "[192.168.8.100]", true, "192.168.8.1", 2, "twin"},
			},
		},
		{
			"IPv6 names another interface for a source and a device, where the device alone is heeded", []Addr{address(3, "2001:db8::2/64")},
			map[Vantage]oracle.Way{from("2001:db8::2", 0): sent(2, "fe80::1", 1), from("2001:db8::2", 3): sent(2, "fe80::1", 1), from("6", 3): sent(3, "fe80::2", 2)}, nil,
			[]row{{"2001:db8::/64", "[2001:db8::2]", true, "fe80::2", 2, ""}},
		},
		{
			"a source-specific route is for its sources only", []Addr{address(2, "2a00:a::23/64"), address(2, "2a00:b::9/64")},
			map[Vantage]oracle.Way{from("2a00:a::23", 0): sent(2, "fe80::1", 1)}, nil,
			[]row{{"2a00:a::/64", "[2a00:a::23]", true, "fe80::1", 2, ""}, {"2a00:b::/64", "[2a00:b::9]", false, "invalid IP", 0, ""}},
		},
		{
			"a source that the route names, and not the address in the gateway's network",
			[]Addr{address(2, "192.168.178.48/24"), address(2, "10.10.0.5/32"), address(2, "2a00:a::23/64"), address(2, "fd10::5/128")},
			map[Vantage]oracle.Way{
				from("4", 2): named(sent(2, "192.168.178.1", 0), "10.10.0.5"), from("6", 2): named(sent(2, "fe80::1", 0), "fd10::5"),
				from("192.168.178.48", 0): named(sent(2, "192.168.178.1", 0), "10.10.0.5"), from("10.10.0.5", 0): named(sent(2, "192.168.178.1", 0), "10.10.0.5"),
				from("2a00:a::23", 0): named(sent(2, "fe80::1", 0), "fd10::5"), from("fd10::5", 0): named(sent(2, "fe80::1", 0), "fd10::5"),
			}, nil,
			[]row{
				{"192.168.178.0/24", "[192.168.178.48]", false, "invalid IP", 2, ""},
				{"10.10.0.5/32", "[10.10.0.5]", true, "192.168.178.1", 2, ""},
				{"2a00:a::/64", "[2a00:a::23]", false, "invalid IP", 2, ""},
				{"fd10::5/128", "[fd10::5]", true, "fe80::1", 2, ""},
			},
		},
		{
			"a source on loopback that the route names", []Addr{address(1, "203.0.113.20/32"), address(2, "10.0.0.1/31")},
			map[Vantage]oracle.Way{
				from("4", 0): named(sent(2, "10.0.0.0", 20), "203.0.113.20"), from("4", 2): named(sent(2, "10.0.0.0", 20), "203.0.113.20"),
				from("10.0.0.1", 0): named(sent(2, "10.0.0.0", 20), "203.0.113.20"), from("203.0.113.20", 0): named(sent(2, "10.0.0.0", 20), "203.0.113.20"),
			}, nil,
			[]row{
				{"203.0.113.20/32", "[203.0.113.20]", false, "invalid IP", 0, ""},
				{"10.0.0.0/31", "[10.0.0.1]", false, "invalid IP", 2, ""},
				{"203.0.113.20/32", "[203.0.113.20]", true, "10.0.0.0", 2, "lent"},
			},
		},
		{
			"a source on loopback, two links without addresses that share", []Addr{address(1, "203.0.113.20/32")},
			map[Vantage]oracle.Way{
				from("4", 0): shared(named(sent(2, "fe80::1", 20), "203.0.113.20")), from("203.0.113.20", 0): shared(named(sent(2, "fe80::1", 20), "203.0.113.20")),
				from("4", 2): named(sent(2, "fe80::1", 20), "203.0.113.20"), from("203.0.113.20", 2): named(sent(2, "fe80::1", 20), "203.0.113.20"),
				from("4", 5): named(sent(5, "fe80::2", 20), "203.0.113.20"), from("203.0.113.20", 5): named(sent(5, "fe80::2", 20), "203.0.113.20"),
			}, nil,
			[]row{
				{"203.0.113.20/32", "[203.0.113.20]", false, "invalid IP", 0, ""},
				{"203.0.113.20/32", "[203.0.113.20]", true, "fe80::1", 0, "lent twin"},
				{"203.0.113.20/32", "[203.0.113.20]", true, "fe80::2", 0, "lent twin"},
			},
		},
		{
			"prohibited, with and without the neighbours", []Addr{address(2, "10.1.0.2/24"), address(3, "10.2.0.2/24")},
			map[Vantage]oracle.Way{from("10.1.0.2", 0): refused(oracle.Prohibited), from("10.2.0.2", 0): refused(oracle.Dropped)}, []string{"10.1.0.2"},
			[]row{{"10.1.0.0/24", "[10.1.0.2]", false, "invalid IP", 0, "prohibited barred"}, {"10.2.0.0/24", "[10.2.0.2]", false, "invalid IP", 0, "blackhole"}},
		},
		{
			"one of two addresses is prohibited", []Addr{address(2, "10.1.0.2/24"), address(2, "10.1.0.3/24")},
			map[Vantage]oracle.Way{from("10.1.0.2", 0): refused(oracle.Prohibited), from("10.1.0.3", 0): sent(2, "10.1.0.1", 0)}, []string{"10.1.0.2"},
			[]row{{"10.1.0.0/24", "[10.1.0.3 10.1.0.2]", true, "10.1.0.1", 2, ""}},
		},
		{
			"what does not reach beyond its link", []Addr{address(2, "fe80::2/64")},
			map[Vantage]oracle.Way{from("fe80::2", 0): sent(2, "fe80::1", 1)}, nil,
			[]row{{"fe80::/64", "[fe80::2]", false, "invalid IP", 0, ""}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := State{Links: links(), Addrs: tt.addrs, Ways: tt.ways, Barred: map[netip.Addr]oracle.Verdict{}}
			for _, unbound := range []Vantage{from("4", 0), from("6", 0)} {
				if _, ok := tt.ways[unbound]; !ok {
					tt.ways[unbound] = sent(2, "", 1)
				}
			}
			for _, a := range tt.barred {
				state.Barred[netip.MustParseAddr(a)] = oracle.Prohibited
			}
			var got []row
			for _, p := range NewSnapshot(state).Prefixes() {
				r := row{p.Prefix.String(), fmt.Sprint(p.Addrs), p.HasDefault, p.Gateway.String(), p.Egress, ""}
				var notes []string
				if p.Refused != 0 {
					notes = append(notes, p.Refused.String())
				}
				for _, n := range []struct {
					note string
					set  bool
				}{{"barred", p.Barred}, {"lent", p.Lent}, {"twin", p.Twin}, {"ruled", p.Ruled}} {
					if n.set {
						notes = append(notes, n.note)
					}
				}
				r.Note = strings.Join(notes, " ")
				got = append(got, r)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddressesLedIntoTunnels(t *testing.T) {
	t.Parallel()
	const uplink, into, other = 2, 20, 21
	for _, tt := range []struct {
		name    string
		source  string
		link    Link // that a rule leads the uplink's source to
		unbound int  // the interface by which other traffic leaves; 0: none
		detours []int
		want    int
	}{
		{"WireGuard", "10.1.0.2/24", Link{Type: "wireguard"}, uplink, nil, into},
		{"IPv6", "2001:db8::2/64", Link{Type: "wireguard"}, uplink, nil, into},
		{"everything goes there", "10.1.0.2/24", Link{Type: "wireguard"}, into, nil, 0},
		{"nothing else leaves", "10.1.0.2/24", Link{Type: "wireguard"}, 0, nil, into},
		{"another uplink", "10.1.0.2/24", Link{Type: "device"}, uplink, nil, 0},
		{"6in4", "10.1.0.2/24", Link{Type: "sit"}, uplink, nil, 0},
		{"L2TP", "10.1.0.2/24", Link{Type: "ppp", L2TP: true, MTU: 1500}, uplink, nil, into},
		{"PPPoE", "10.1.0.2/24", Link{Type: "ppp", PPPoE: true, MTU: 1492}, uplink, []int{uplink}, 0},
		{"PPP of small packets", "10.1.0.2/24", Link{Type: "ppp", MTU: 1400}, uplink, nil, into},
		{"the same, and other traffic goes by a modem", "10.1.0.2/24", Link{Type: "ppp", MTU: 1400}, other, nil, 0},
		{"the same, and nothing else leaves", "10.1.0.2/24", Link{Type: "ppp", MTU: 1400}, 0, nil, 0},
		{"a modem", "10.1.0.2/24", Link{Type: "ppp", MTU: 1500}, uplink, nil, 0},
		{"the same, and a host is reached by the uplink", "10.1.0.2/24", Link{Type: "ppp", MTU: 1500}, uplink, []int{uplink}, into},
	} {
		tt.link.Index, tt.link.Name, tt.link.Up, tt.link.Running = into, "into0", true, true
		source := netip.MustParsePrefix(tt.source).Addr()
		own := sent(into, "", 0)
		own.Table = 77
		state := State{
			Links:   append(links(), tt.link, Link{Index: other, Name: "ppp9", Type: kindPPP, Up: true, Running: true, MTU: 1500}),
			Addrs:   []Addr{address(uplink, tt.source)},
			Detours: tt.detours,
			Ways:    map[Vantage]oracle.Way{{Source: source}: own},
		}
		if tt.unbound != 0 {
			state.Ways[Vantage{Source: unspecified(source)}] = sent(tt.unbound, "", 0)
		}
		p := NewSnapshot(state).Prefixes()[0]
		if p.Led != tt.want || p.OwnLink != (tt.want != 0) {
			t.Errorf("%s: led into %d, its own link only %v; want %d", tt.name, p.Led, p.OwnLink, tt.want)
		}
	}
}

func TestPrefixOf(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(State{Links: links(), Addrs: []Addr{
		address(2, "10.1.0.2/24"), address(2, "fe80::2/64"), address(3, "fe80::3/64"), address(3, "::/0"),
	}})
	for _, tt := range []struct{ addr, in, with string }{
		{"10.1.0.77", "10.1.0.0/24%wlan0", ""},
		{"10.1.0.2", "10.1.0.0/24%wlan0", "10.1.0.0/24%wlan0"},
		{"::ffff:10.1.0.2", "10.1.0.0/24%wlan0", "10.1.0.0/24%wlan0"},
		{"10.2.0.2", "", ""}, // and not in ::/0
		{"fe80::3", "fe80::/64%wlan0", "fe80::/64%wwan0"},
		{"fe80::3%wwan0", "fe80::/64%wwan0", "fe80::/64%wwan0"},
		{"fe80::3%other", "", ""},
		{"2001:db8::1", "::/0%wwan0", ""},
	} {
		name := func(p *Prefix) string {
			if p == nil {
				return ""
			}
			return p.Prefix.String() + "%" + p.Interface
		}
		a := netip.MustParseAddr(tt.addr)
		if got := name(s.PrefixOf(a)); got != tt.in {
			t.Errorf("PrefixOf(%s) = %q, want %q", a, got, tt.in)
		}
		if got := name(s.PrefixWith(a)); got != tt.with {
			t.Errorf("PrefixWith(%s) = %q, want %q", a, got, tt.with)
		}
	}
	if s.PrefixOf(netip.Addr{}) != nil {
		t.Error("no address lies in a prefix")
	}
}

func TestFullTunnel(t *testing.T) {
	t.Parallel()
	lan, lan6, vpn, he := address(2, "10.1.0.2/24"), address(2, "2001:db8::2/64"), address(6, "10.6.0.2/32"), address(7, "2001:db8:7::2/64")
	translator, second := address(6, "192.0.0.1/32"), address(11, "10.11.0.2/32")
	pppoe, narrow, modem, l2tp := address(8, "10.8.0.2/32"), address(9, "10.9.0.2/32"), address(10, "10.10.0.2/32"), address(12, "10.12.0.2/32")
	detour := func(index int) func(*State) { return func(s *State) { s.Detours = []int{index} } }
	for _, tt := range []struct {
		name   string
		addrs  []Addr
		four   int // the interface by which IPv4 leaves; 0: none
		six    int
		want   string
		beside string       // prefixes that would go around it
		change func(*State) // what else there is; may be nil
	}{
		{"no default", []Addr{lan, vpn}, 0, 0, " ", "[]", nil},
		{"split tunnel", []Addr{lan, vpn}, 2, 0, " ", "[]", nil},
		{"full", []Addr{lan, vpn}, 6, 0, "wg0 ", "[10.1.0.0/24]", nil},
		{"IPv4 only: IPv6 beside it would leak", []Addr{lan, vpn, lan6}, 6, 2, "wg0 ", "[10.1.0.0/24 2001:db8::/64]", nil},
		{"IPv6 only: nothing about IPv4", []Addr{lan, vpn, lan6}, 2, 6, " wg0", "[2001:db8::/64]", nil},
		{"both", []Addr{lan, vpn, lan6}, 6, 6, "wg0 wg0", "[10.1.0.0/24 2001:db8::/64]", nil},
		{"6in4 hides nothing", []Addr{lan, lan6, he}, 2, 7, " ", "[]", nil},
		{"a translator for IPv4", []Addr{lan6, translator}, 6, 2, " ", "[]", nil},
		{"nothing but tunnels", []Addr{vpn}, 6, 0, " ", "[]", nil},
		{"vanished", []Addr{lan}, 99, 0, " ", "[]", nil},
		{"two share everything", []Addr{lan, vpn, second}, 6, 0, "wg0 ", "[10.1.0.0/24]", func(s *State) {
			w := sent(6, "", 0)
			w.Shared = true
			s.Ways[from("4", 0)] = w
			s.Ways[from("4", 6)], s.Ways[from("4", 11)] = sent(6, "", 0), sent(11, "", 0)
			s.Ways[from("4", 2)] = sent(2, "10.1.0.1", 100)
		}},
		{"PPPoE", []Addr{lan, pppoe}, 8, 0, " ", "[]", nil},
		{"PPP of small packets beside a LAN", []Addr{lan, narrow}, 9, 0, "ppp1 ", "[10.1.0.0/24]", nil},
		{"the same, and the LAN leads nowhere", []Addr{address(3, "10.3.0.2/24"), narrow}, 9, 0, " ", "[]", nil},
		{"the same, and a host is reached by that LAN", []Addr{address(3, "10.3.0.2/24"), narrow}, 9, 0, "ppp1 ", "[10.3.0.0/24]", detour(3)},
		{"a modem that is preferred", []Addr{lan, modem}, 10, 0, " ", "[]", nil},
		{"the same, and a host is reached by the LAN", []Addr{lan, modem}, 10, 0, "ppp2 ", "[10.1.0.0/24]", detour(2)},
		{"the same, and a host is reached by itself", []Addr{lan, modem}, 10, 0, " ", "[]", detour(10)},
		{"L2TP above PPPoE", []Addr{pppoe, l2tp}, 12, 0, "ppp3 ", "[10.8.0.2/32]", nil},
		{"small packets above PPPoE", []Addr{pppoe, narrow}, 9, 0, "ppp1 ", "[10.8.0.2/32]", func(s *State) {
			s.Ways[from("10.8.0.2", 0)] = sent(8, "", 100)
		}},
		{"WireGuard above PPPoE", []Addr{pppoe, vpn}, 6, 0, "wg0 ", "[10.8.0.2/32]", nil},
		{"WireGuard above a modem", []Addr{modem, vpn}, 6, 0, "wg0 ", "[10.10.0.2/32]", nil},
		{"IPsec by policy", []Addr{lan, address(2, "10.99.0.5/32"), address(3, "10.3.0.2/24"), lan6}, 0, 2, " ", "[10.1.0.0/24 10.3.0.0/24 2001:db8::/64]", policed(220, "10.99.0.5")},
		{"the same with its address on loopback", []Addr{address(1, "10.99.0.5/32"), lan}, 0, 0, " ", "[10.1.0.0/24]", policed(220, "10.99.0.5")},
		{"an address that the default route names", []Addr{lan, address(2, "10.99.0.5/32"), address(3, "10.3.0.2/24")}, 0, 0, " ", "[]", policed(TableMain, "10.99.0.5")},
		{"the same before a default route that does not", []Addr{lan, address(2, "10.99.0.5/32"), address(3, "10.3.0.2/24")}, 0, 0, " ", "[10.1.0.0/24 10.3.0.0/24]", func(s *State) {
			policed(TableMain, "10.99.0.5")(s)
			s.Fallback[0] = true
		}},
		{"a table of its own that names the link's address", []Addr{lan, address(3, "10.3.0.2/24")}, 0, 0, " ", "[]", policed(220, "10.1.0.2")},
	} {
		state := State{
			Links: append(links(), Link{Index: 7, Name: "he-ipv6", Type: "sit", Up: true, Running: true},
				Link{Index: 8, Name: "ppp0", Type: "ppp", Up: true, Running: true, PPPoE: true, MTU: 1492},
				Link{Index: 9, Name: "ppp1", Type: "ppp", Up: true, Running: true, MTU: 1400},
				Link{Index: 10, Name: "ppp2", Type: "ppp", Up: true, Running: true, MTU: 1500},
				Link{Index: 11, Name: "wg1", Type: "wireguard", Up: true, Running: true},
				Link{Index: 12, Name: "ppp3", Type: "ppp", Up: true, Running: true, L2TP: true, MTU: 1500}),
			Addrs: tt.addrs,
			Ways:  map[Vantage]oracle.Way{from("10.1.0.2", 0): sent(2, "10.1.0.1", 100)},
		}
		if tt.four != 0 {
			state.Ways[from("4", 0)] = sent(tt.four, "", 0)
		}
		if tt.six != 0 {
			state.Ways[from("6", 0)] = sent(tt.six, "", 0)
		}
		if tt.change != nil {
			tt.change(&state)
		}
		s := NewSnapshot(state)
		four, _ := s.FullTunnel(false)
		six, _ := s.FullTunnel(true)
		beside := []netip.Prefix{}
		for _, p := range s.Prefixes() {
			if !p.Loopback && s.Beside(&p) {
				beside = append(beside, p.Prefix)
			}
		}
		if got := four.Name + " " + six.Name; got != tt.want || fmt.Sprint(beside) != tt.beside {
			t.Errorf("%s: tunnels %q, want %q; beside them %v, want %s", tt.name, got, tt.want, beside, tt.beside)
		}
	}
}

// policed makes a table lead everything by wlan0, and name a source.
func policed(table int, source string) func(*State) {
	return func(s *State) {
		w := sent(2, "10.1.0.1", 0)
		w.Table, w.Named, w.Source = table, netip.MustParseAddr(source), netip.MustParseAddr(source)
		s.Ways[from("4", 0)], s.Ways[from("4", 2)], s.Ways[from(source, 0)] = w, w, w
	}
}

func TestAltNames(t *testing.T) {
	t.Parallel()
	state := State{Links: links()}
	state.Links[1].AltNames = []string{"uplink-fibre", "wwan0"}
	s := NewSnapshot(state)
	for name, want := range map[string]int{"uplink-fibre": 2, "wlan0": 2, "wwan0": 3, "other": 0} {
		if l, _ := s.LinkByName(name); l.Index != want {
			t.Errorf("%s is interface %d, want %d", name, l.Index, want)
		}
	}
}
