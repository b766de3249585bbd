package netmon

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareNetip = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// address is a usable address of a scope that its value tells.
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

func TestDefaults(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(State{
		Links: links(),
		Addrs: []Addr{address(2, "10.1.0.2/24"), address(3, "10.2.0.2/24"), address(5, "10.5.0.2/24"), address(6, "10.6.0.2/32"), address(2, "2001:db8:1::2/64"), address(2, "fe80::2/64")},
		Routes: []Route{
			route(TableMain, "0.0.0.0/0", 2, "10.1.0.254", 600),
			route(TableMain, "0.0.0.0/0", 2, "10.1.0.1", 100),
			route(77, "0.0.0.0/0", 2, "10.1.0.3", 1),
			route(77, "0.0.0.0/0", 3, "10.2.0.1", 5),
			route(78, "0.0.0.0/0", 5, "10.5.0.1", 0), // no rule names the table
			route(TableMain, "0.0.0.0/1", 6, "", 0),
		},
		Rules:  []Rule{{Priority: 100, Source: netip.MustParsePrefix("10.2.0.2/32"), Table: 77}},
		Egress: map[netip.Addr]int{netip.MustParseAddr("10.1.0.2"): 2, netip.MustParseAddr("10.2.0.2"): 2, netip.MustParseAddr("fe80::2"): 9},
	})
	one := []netip.Addr{netip.MustParseAddr("10.1.0.2")}
	want := Prefix{
		Interface: "wlan0", Index: 2, Prefix: netip.MustParsePrefix("10.1.0.0/24"), Addrs: one, Scope: ScopeGlobal, Running: true,
		HasDefault: true, Metric: 100, Gateway: netip.MustParseAddr("10.1.0.1"), Egress: 2,
	}
	if diff := cmp.Diff(want, s.Prefixes()[0], compareNetip); diff != "" {
		t.Error(diff)
	}
	type defaults struct {
		Interface string
		Has       bool
		Metric    int
		Gateway   string
		Egress    int
	}
	var got []defaults
	for _, p := range s.Prefixes()[1:] {
		got = append(got, defaults{p.Interface, p.HasDefault, p.Metric, p.Gateway.String(), p.Egress})
	}
	if diff := cmp.Diff([]defaults{
		{"wwan0", true, 5, "10.2.0.1", 2},
		{"lowpan0", false, 0, "invalid IP", 0},
		{"wg0", true, 0, "invalid IP", 0},
		{"wlan0", false, 0, "invalid IP", 0}, // other family
		{"wlan0", false, 0, "invalid IP", 0},
	}, got); diff != "" {
		t.Error(diff)
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
	lan, vpn := address(2, "10.1.0.2/24"), address(6, "10.6.0.2/32")
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	for _, tt := range []struct {
		name   string
		addrs  []Addr
		egress map[netip.Addr]int
		want   string
	}{
		{"no default", []Addr{lan, vpn}, nil, ""},
		{"split tunnel", []Addr{lan, vpn}, map[netip.Addr]int{any4: 2}, ""},
		{"full", []Addr{lan, vpn}, map[netip.Addr]int{any4: 6}, "wg0"},
		{"full for IPv6 only", []Addr{lan, vpn}, map[netip.Addr]int{any4: 2, any6: 6}, "wg0"},
		{"nothing but tunnels", []Addr{vpn}, map[netip.Addr]int{any4: 6}, ""},
		{"vanished", []Addr{lan}, map[netip.Addr]int{any4: 99}, ""},
	} {
		l, ok := NewSnapshot(State{Links: links(), Addrs: tt.addrs, Egress: tt.egress}).FullTunnel()
		if l.Name != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %v, want %q", tt.name, l.Name, ok, tt.want)
		}
	}
}
