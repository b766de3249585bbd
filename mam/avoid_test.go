package mam

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// A prefix on which a user's connects fail is not offered to that user any more, but
// still to others.
func TestAvoid(t *testing.T) {
	me := uint32(os.Getuid())
	wlan, wwan := host(nil).Prefixes[0].ID, host(nil).Prefixes[1].ID
	for _, tt := range []struct {
		name  string
		avoid map[uint32][]policy.PrefixID
		want  string
	}{
		{"nothing", nil, "10.77.1.1:0"},
		{"by this user", map[uint32][]policy.PrefixID{me: {wlan}}, "10.77.2.1:0"},
		{"by another one", map[uint32][]policy.PrefixID{me + 1: {wlan}}, "10.77.1.1:0"},
		{"nothing else is left", map[uint32][]policy.PrefixID{me: {wlan, wwan}}, "10.77.1.1:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := host(takeFirst)
			v.Avoid = tt.avoid
			c := start(t, v, Options{}).dial(t)
			for range 2 { // the second request uses the memory of the first
				if got := c.ask(connectTo("192.0.2.1:80")).Context.BindSuggested; got != sockAddr(tt.want) {
					t.Errorf("suggested %v, want %v", got, tt.want)
				}
				// A name has addresses of both families, and each family keeps one
				// prefix.
				if got := c.ask(socketConnectTo("host.test", "80")).Context.BindSuggested; got != sockAddr(tt.want) {
					t.Errorf("suggested %v for a name, want %v", got, tt.want)
				}
			}
		})
	}
}

// If the default prefix is withheld, another prefix stands in for it, unless that
// prefix does not lead to the destination anyway.
func TestStandIn(t *testing.T) {
	me := uint32(os.Getuid())
	byDefault := chooser(func(r *policy.Request) policy.Decision { return policy.Decision{Prefix: r.DefaultPrefix()} })
	for _, tt := range []struct {
		name   string
		change func(*View)
		remote string
		want   string
	}{
		{"it works", func(*View) {}, "192.0.2.1:80", "10.77.1.1:0"},
		{"down", func(v *View) { v.Prefixes[0].Health.State = policy.Down }, "192.0.2.1:80", "10.77.2.1:0"},
		{"avoided", func(v *View) { v.Avoid = map[uint32][]policy.PrefixID{me: {v.Prefixes[0].ID}} }, "192.0.2.1:80", "10.77.2.1:0"},
		{"too dear", func(v *View) { v.AvoidMetered, v.Prefixes[0].Cost = true, policy.Metered }, "192.0.2.1:80", "10.77.2.1:0"},
		{"it does not lead there", func(v *View) { v.Prefixes[0].Health.State = policy.Down }, "10.77.2.9:80", ""},
		{"no default in the family", func(v *View) { v.Prefixes[0].Health.State = policy.Down }, "[2001:db8::1]:80", ""},
		{"all are down", func(v *View) { v.Prefixes[0].Health.State, v.Prefixes[1].Health.State = policy.Down, policy.Down }, "192.0.2.1:80", "10.77.1.1:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := host(byDefault)
			tt.change(v)
			var want wire.SockAddr
			if tt.want != "" {
				want = sockAddr(tt.want)
			}
			if got := start(t, v, Options{}).dial(t).ask(connectTo(tt.remote)).Context.BindSuggested; got != want {
				t.Errorf("suggested %v, want %v", got, want)
			}
		})
	}
}

// A query to a network's name server leaves by that network, even if the policy would
// take another one.
func TestNameServers(t *testing.T) {
	far, near := netip.MustParseAddr("198.51.100.53"), netip.MustParseAddr("10.77.2.53")
	for _, tt := range []struct {
		name   string
		change func(*View)
		remote string
		want   string
	}{
		{"DNS", func(*View) {}, "198.51.100.53:53", "10.77.2.1:0"},
		{"DNS over TLS", func(*View) {}, "198.51.100.53:853", "10.77.2.1:0"},
		{"something else there", func(*View) {}, "198.51.100.53:443", "10.77.1.1:0"},
		{"no name server", func(*View) {}, "192.0.2.1:53", "10.77.1.1:0"},
		{"it costs", func(v *View) { v.AvoidMetered, v.Prefixes[1].Cost = true, policy.Metered }, "198.51.100.53:53", "10.77.2.1:0"},
		{"its network is down", func(v *View) { v.Prefixes[1].Health.State = policy.Down }, "198.51.100.53:53", "10.77.1.1:0"},
		{"of two networks", func(v *View) { v.NameServers[far] = append(v.NameServers[far], v.Prefixes[0].ID) }, "198.51.100.53:53", "10.77.1.1:0"},
		{"the routes lead elsewhere", func(v *View) { v.NameServers[near] = []policy.PrefixID{v.Prefixes[0].ID} }, "10.77.2.53:53", "10.77.2.1:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := host(takeFirst)
			v.NameServers = map[netip.Addr][]policy.PrefixID{far: {v.Prefixes[1].ID}}
			tt.change(v)
			c := start(t, v, Options{}).dial(t)
			if got := c.ask(connectTo(tt.remote)).Context.BindSuggested; got != sockAddr(tt.want) {
				t.Errorf("connect: suggested %v, want %v", got, tt.want)
			}
			host, port, err := net.SplitHostPort(tt.remote)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.ask(socketConnectTo(host, port)).Context.BindSuggested; got != sockAddr(tt.want) {
				t.Errorf("socketconnect: suggested %v, want %v", got, tt.want)
			}
		})
	}
}

// avoid changes neither the View's lists nor their order.
func TestAvoidLeavesTheView(t *testing.T) {
	v := host(nil)
	v.prepare()
	v.Avoid = map[uint32][]policy.PrefixID{7: {v.Prefixes[0].ID}}
	before := slices.Clone(v.offered[policy.Unspecified])
	got := v.candidates(nil, policy.Unspecified, netip.Addr{}, Reach{}, 7)
	if len(got) != 3 || slices.Contains(got, v.Prefixes[0]) {
		t.Errorf("left: %v", got)
	}
	if !slices.Equal(before, v.offered[policy.Unspecified]) {
		t.Error("the View's own list was changed")
	}
}

// Networks that cost something are withheld while others are left. A network that works
// is preferred to one that is cheap.
func TestAvoidMetered(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*View)
		family policy.Family
		dst    string
		want   string
	}{
		{"it matters", func(*View) {}, policy.IPv4, "", "wlan0"},
		{"in any family", func(*View) {}, policy.Unspecified, "", "wlan0 wlan0"},
		{"it does not matter", func(v *View) { v.AvoidMetered = false }, policy.IPv4, "", "wlan0 wwan0"},
		{"the cheap one is down", func(v *View) { v.Prefixes[0].Health.State = policy.Down }, policy.IPv4, "", "wwan0"},
		{"the cheap one fails for this user", func(v *View) { v.Avoid = map[uint32][]policy.PrefixID{7: {v.Prefixes[0].ID}} }, policy.IPv4, "", "wwan0"},
		{"the dear one fails for this user", func(v *View) { v.Avoid = map[uint32][]policy.PrefixID{7: {v.Prefixes[1].ID}} }, policy.IPv4, "", "wlan0"},
		{"nothing is free", func(v *View) { v.Prefixes[0].Cost = policy.Expensive }, policy.IPv4, "", "wwan0"},
		{"only the dear one leads there: the kernel's route does", func(*View) {}, policy.IPv4, "10.77.2.9", ""},
	} {
		v := host(nil)
		v.AvoidMetered = true
		v.Prefixes[1].Cost, v.Prefixes[3].Cost = policy.Metered, policy.Metered
		tt.change(v)
		v.prepare()
		var dst netip.Addr
		if tt.dst != "" {
			dst = netip.MustParseAddr(tt.dst)
		}
		for _, buf := range [][]*policy.Prefix{nil, make([]*policy.Prefix, 0, 4)} {
			var names []string
			for _, p := range v.candidates(buf, tt.family, dst, v.reach(Flow{Dst: dst, User: 7}), 7) {
				names = append(names, p.Interface)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

// An idle connection that cannot work is not suggested again.
func TestDeadSocketsAreNotOffered(t *testing.T) {
	me := uint32(os.Getuid())
	for _, tt := range []struct {
		name   string
		change func(*View)
		want   []int32
	}{
		{"all work", func(*View) {}, []int32{4, 5, 6}},
		{"prefix down", func(v *View) { v.Prefixes[0].Health.State = policy.Down }, []int32{5, 6}},
		{"prefix suspect", func(v *View) { v.Prefixes[0].Health.State = policy.Suspect }, []int32{4, 5, 6}},
		{"avoided by this user", func(v *View) { v.Avoid = map[uint32][]policy.PrefixID{me: {v.Prefixes[1].ID}} }, []int32{4, 6}},
		{"avoided by another one", func(v *View) { v.Avoid = map[uint32][]policy.PrefixID{me + 1: {v.Prefixes[1].ID}} }, []int32{4, 5, 6}},
		{"address gone", func(v *View) {
			v.Local = func(a netip.Addr) bool { return a == netip.MustParseAddr("10.77.1.1") }
		}, []int32{4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan []int32, 1)
			v := host(chooser(func(r *policy.Request) policy.Decision {
				var fds []int32
				for i := range r.Sockets {
					fds = append(fds, r.Sockets[i].FD)
				}
				seen <- fds
				return policy.Decision{}
			}))
			tt.change(v)
			req := socketConnectTo("192.0.2.4", "80")
			req.Action = wire.ActionSocketChooseRequest
			for i, local := range []string{"10.77.1.1:0", "10.77.2.1:0", "10.99.0.1:0"} {
				m := wire.SetMember{FD: int32(4 + i), Context: socketConnectTo("192.0.2.4", "80").Context}
				m.Context.BindSuggested = sockAddr(local)
				req.Sockets = append(req.Sockets, m)
			}
			start(t, v, Options{}).dial(t).ask(req)
			if got := <-seen; !slices.Equal(got, tt.want) {
				t.Errorf("offered %v, want %v", got, tt.want)
			}
		})
	}
}
