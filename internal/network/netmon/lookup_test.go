package netmon

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// route is a unicast route; no gateway means on the link.
func route(table int, prefix string, index int, gateway string, metric int) Route {
	r := Route{Table: table, Prefix: netip.MustParsePrefix(prefix), Index: index, Metric: metric}
	if gateway != "" {
		r.Gateway = netip.MustParseAddr(gateway)
	}
	return r
}

func local(prefix string, index int) Route {
	r := route(TableLocal, prefix, index, "", 0)
	r.Type = Local
	return r
}

func unreachable(prefix string, metric int) Route {
	r := route(TableMain, prefix, 0, "", metric)
	r.Type = Unreachable
	return r
}

func host() *Snapshot {
	broadcast := route(TableLocal, "10.1.0.255/32", 2, "", 0)
	broadcast.Type = Other
	return NewSnapshot(State{Links: links(), Routes: []Route{
		local("127.0.0.0/8", 1), local("10.1.0.2/32", 2), local("::1/128", 1), local("fe80::2/128", 2), broadcast,
		route(TableMain, "0.0.0.0/0", 3, "10.2.0.1", 600),
		route(TableMain, "0.0.0.0/0", 2, "10.1.0.1", 100),
		route(TableMain, "10.1.0.0/24", 2, "", 100),
		route(TableMain, "10.1.0.0/24", 3, "", 200),
		route(TableMain, "10.1.0.0/24", 5, "", 300),
		route(TableMain, "172.16.0.0/12", 6, "", 0),
		route(TableMain, "172.16.9.0/24", 2, "10.1.0.9", 0),
		route(TableMain, "169.254.0.0/16", 2, "", 1000),
		unreachable("10.99.0.0/16", 0),
		route(77, "198.51.100.0/24", 6, "", 0),
		route(TableMain, "fe80::/64", 2, "", 256),
		route(TableMain, "fe80::/64", 3, "", 256),
		route(TableMain, "2001:db8:1::/64", 2, "", 256),
		unreachable("::/0", 4294967295),
	}})
}

func TestRoute(t *testing.T) {
	t.Parallel()
	s := host()
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	all := p("0.0.0.0/0")
	gw := a("10.1.0.1")
	for _, tt := range []struct {
		dst  string
		want Path
	}{
		{"192.0.2.1", Path{Prefix: all, Index: 2, Gateway: gw, Metric: 100, Others: []int{3}, Default: true}},
		{"::ffff:192.0.2.1", Path{Prefix: all, Index: 2, Gateway: gw, Metric: 100, Others: []int{3}, Default: true}},
		{"198.51.100.1", Path{Prefix: all, Index: 2, Gateway: gw, Metric: 100, Others: []int{3}, Default: true}},
		{"10.1.0.9", Path{Prefix: p("10.1.0.0/24"), Index: 2, Metric: 100, Others: []int{3, 5}}},
		{"10.1.0.2", Path{Prefix: p("10.1.0.2/32"), Index: 1, Loopback: true}},
		{"10.1.0.255", Path{Prefix: p("10.1.0.0/24"), Index: 2, Metric: 100, Others: []int{3, 5}}},
		{"127.0.0.53", Path{Index: 1, Loopback: true}},
		{"0.0.0.0", Path{Index: 1, Loopback: true}},
		{"::1", Path{Index: 1, Loopback: true}},
		{"172.16.1.1", Path{Prefix: p("172.16.0.0/12"), Index: 6}},
		{"172.16.9.1", Path{Prefix: p("172.16.9.0/24"), Index: 2, Gateway: a("10.1.0.9")}},
		{"169.254.169.254", Path{Prefix: p("169.254.0.0/16"), Index: 2, Metric: 1000, LinkLocal: true}},
		{"10.99.1.1", Path{Prefix: p("10.99.0.0/16"), Unreachable: true}},
		{"2001:db8:1::5", Path{Prefix: p("2001:db8:1::/64"), Index: 2, Metric: 256}},
		{"fe80::9", Path{LinkLocal: true}},
		{"fe80::9%wwan0", Path{Index: 3, LinkLocal: true}},
		{"fe80::9%2", Path{Index: 2, LinkLocal: true}},
		{"fe80::9%42", Path{LinkLocal: true}},
		{"fe80::2%wlan0", Path{Prefix: p("fe80::2/128"), Index: 1, Loopback: true, LinkLocal: true}},
		{"ff02::1%wlan0", Path{Index: 2, LinkLocal: true}},
		{"ff0e::1", Path{}},
	} {
		got, ok := s.Route(a(tt.dst))
		if diff := cmp.Diff(tt.want, got, compareNetip); diff != "" || !ok {
			t.Errorf("%s: found %v, (-want +got)\n%s", tt.dst, ok, diff)
		}
	}
	for _, dst := range []netip.Addr{a("2001:db8:2::1"), {}} {
		if got, ok := s.Route(dst); ok {
			t.Errorf("%s: %+v, want none", dst, got)
		}
	}
}

func TestPathVia(t *testing.T) {
	t.Parallel()
	s := host()
	for _, tt := range []struct {
		dst  string
		want []int // interfaces that lead there, of 1 to 6
	}{
		{"192.0.2.1", []int{1, 2, 3, 4, 5, 6}},
		{"10.1.0.9", []int{2, 3, 5}},
		{"172.16.1.1", []int{6}},
		{"10.99.1.1", nil},
		{"127.0.0.1", []int{1}},
		{"fe80::9%wwan0", []int{3}},
		{"fe80::9", nil},
	} {
		path, _ := s.Route(netip.MustParseAddr(tt.dst))
		var got []int
		for i := 1; i <= 6; i++ {
			if path.Via(i) {
				got = append(got, i)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.dst, diff)
		}
	}
}

func TestRouteDefault(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]bool{
		"0.0.0.0/0": true, "0.0.0.0/1": true, "128.0.0.0/1": true, "::/0": true, "8000::/1": true, "2000::/3": true,
		"10.0.0.0/8": false, "64.0.0.0/2": false, "2001::/16": false,
	} {
		if got := route(TableMain, prefix, 1, "", 0).Default(); got != want {
			t.Errorf("%s: default %v, want %v", prefix, got, want)
		}
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	s, dst := host(), netip.MustParseAddr("192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { s.Route(dst) }); n > 0 {
		t.Errorf("%v allocations per lookup", n)
	}
}

func BenchmarkRoute(b *testing.B) {
	many := State{Links: links(), Routes: host().Routes()}
	for i := range 10000 {
		many.Routes = append(many.Routes, route(TableMain, fmt.Sprintf("100.%d.%d.0/24", i/250, i%250), 2, "", 0))
	}
	for _, bm := range []struct {
		name string
		s    *Snapshot
		dst  string
	}{
		{"dozen/default", host(), "192.0.2.1"},
		{"dozen/link", host(), "10.1.0.9"},
		{"dozen/v6", host(), "2001:db8:1::5"},
		{"10000/default", NewSnapshot(many), "192.0.2.1"},
		{"10000/specific", NewSnapshot(many), "100.3.7.1"},
	} {
		dst := netip.MustParseAddr(bm.dst)
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				bm.s.Route(dst)
			}
		})
	}
}

// FuzzRoute checks that a lookup gives what a search of the whole table gives.
func FuzzRoute(f *testing.F) {
	s := host()
	f.Add([]byte{192, 0, 2, 1})
	f.Add([]byte{10, 1, 0, 9})
	f.Add(netip.MustParseAddr("2001:db8:1::7").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		dst, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		path, ok := s.Route(dst)
		if !ok || !path.Prefix.IsValid() || path.Loopback {
			return
		}
		for _, r := range s.Routes() {
			if r.Table == TableMain && r.Prefix.Contains(dst.Unmap()) && r.Prefix.Bits() > path.Prefix.Bits() {
				t.Errorf("%s: matched %s, though there is %s", dst, path.Prefix, r.Prefix)
			}
		}
	})
}
