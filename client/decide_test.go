package client

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

func addrs(texts ...string) (list []netip.AddrPort) {
	for _, s := range texts {
		list = append(list, netip.MustParseAddrPort(s))
	}
	return list
}

func sockAddrOf(s string) wire.SockAddr {
	return wire.SockAddr{AddrPort: netip.MustParseAddrPort(s)}
}

func TestNewPlan(t *testing.T) {
	device := func(name string, flags wire.SockOptFlags) wire.SockOpt {
		return wire.SockOpt{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte(name), Flags: flags}
	}
	nodelay := wire.SockOpt{Level: wire.ProtoTCP, Name: 1, Value: []byte{1, 0, 0, 0}}
	option42 := wire.SockOpt{Level: wire.ProtoTCP, Name: 42, Value: []byte{1, 0, 0, 0}}
	entry := func(typ int32, addr string) wire.AddrInfo {
		return wire.AddrInfo{Type: typ, Addr: sockAddrOf(addr)}
	}
	for _, test := range []struct {
		name     string
		target   target
		features wire.Features
		answer   wire.Message
		want     []*candidate
	}{
		{
			name: "no preference", features: features,
			want: []*candidate{{}},
		},
		{
			name: "suggestion and alternates", features: features,
			answer: wire.Message{
				Context: wire.Context{
					Protocol: wire.ProtoMPTCP, BindSuggested: sockAddrOf("10.0.0.1:0"),
					OptionsSuggested: []wire.SockOpt{
						device("wlan0\x00", wire.SockOptOptional), nodelay, {Level: intent.Level, Name: 1, Value: []byte{1, 0, 0, 0}},
					},
				},
				Alternates: []wire.Alternate{
					{Local: sockAddrOf("10.1.0.1:0"), Device: "wwan0", Protocol: wire.ProtoTCP},
					{Local: sockAddrOf("[2001:db8::1]:0"), Protocol: wire.ProtoMPTCP, Remotes: []wire.SockAddr{sockAddrOf("[2001:db8::2]:80"), sockAddrOf("192.0.2.2:80")}},
				},
			},
			want: []*candidate{
				{local: netip.MustParseAddr("10.0.0.1"), device: "wlan0", multipath: true, options: []wire.SockOpt{device("wlan0\x00", wire.SockOptOptional), nodelay}},
				{index: 1, local: netip.MustParseAddr("10.1.0.1"), device: "wwan0", options: []wire.SockOpt{nodelay, device("wwan0", wire.SockOptOptional)}},
				{index: 2, local: netip.MustParseAddr("2001:db8::1"), multipath: true, options: []wire.SockOpt{nodelay}, addrs: addrs("[2001:db8::2]:80")},
			},
		},
		{
			name: "paths", features: features,
			answer: wire.Message{
				Alternates: []wire.Alternate{{}, {}},
				Paths:      []wire.Path{{Microseconds: 600_000}, {Health: wire.PathSuspect}, {Microseconds: 1, Health: wire.PathDown}, {Microseconds: 9}},
			},
			want: []*candidate{{rtt: 600 * time.Millisecond}, {index: 1, suspect: true}, {index: 2, rtt: time.Microsecond, suspect: true}},
		},
		{
			name: "paths of the first ones only", features: features,
			answer: wire.Message{Alternates: []wire.Alternate{{}}, Paths: []wire.Path{{Microseconds: 1000}}},
			want:   []*candidate{{rtt: time.Millisecond}, {index: 1}},
		},
		{
			name: "results of the right family and type", target: target{typ: wire.SockStream, port: 80},
			answer: wire.Message{Context: wire.Context{
				BindSuggested: sockAddrOf("10.0.0.1:0"),
				Result: []wire.AddrInfo{
					entry(wire.SockDgram, "192.0.2.1:80"), entry(wire.SockStream, "[2001:db8::2]:80"),
					entry(wire.SockStream, "192.0.2.3:80"), entry(wire.SockStream, "192.0.2.3:80"), entry(0, "192.0.2.4:0"),
				},
			}},
			want: []*candidate{{local: netip.MustParseAddr("10.0.0.1"), addrs: addrs("192.0.2.3:80", "192.0.2.4:80")}},
		},
		{
			name: "remote address only", target: target{port: 80},
			answer: wire.Message{Context: wire.Context{Remote: sockAddrOf("[::ffff:192.0.2.1]:80")}},
			want:   []*candidate{{addrs: addrs("192.0.2.1:80")}},
		},
		{
			name:   "option 42 of an original",
			answer: wire.Message{Context: wire.Context{OptionsSuggested: []wire.SockOpt{option42}}},
			want:   []*candidate{{multipath: true}},
		},
		{
			name: "option 42 of ours is what it is", features: features,
			answer: wire.Message{Context: wire.Context{OptionsSuggested: []wire.SockOpt{option42}}},
			want:   []*candidate{{options: []wire.SockOpt{option42}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := newPlan(test.target, test.features, &test.answer).candidates
			opts := cmp.Options{cmp.AllowUnexported(candidate{}), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(test.want, got, opts); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSuits(t *testing.T) {
	for _, test := range []struct {
		name          string
		target        target
		remote, local string
		want          bool
	}{
		{"anything", target{}, "192.0.2.1", "", true},
		{"IPv4 asked for", target{family: wire.AFInet}, "192.0.2.1", "", true},
		{"IPv6 for IPv4", target{family: wire.AFInet}, "2001:db8::1", "", false},
		{"IPv4 for IPv6", target{family: wire.AFInet6}, "192.0.2.1", "", false},
		{"same family as the source", target{}, "2001:db8::1", "2001:db8::2", true},
		{"other family than the source", target{}, "192.0.2.1", "2001:db8::2", false},
		{"other family than the application's address", target{bound: netip.MustParseAddrPort("[2001:db8::2]:0")}, "192.0.2.1", "", false},
		{"application bound a port only", target{bound: netip.MustParseAddrPort("[::]:9")}, "192.0.2.1", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			local, _ := netip.ParseAddr(test.local)
			if got := test.target.suits(netip.MustParseAddr(test.remote), local); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	if (&target{}).suits(netip.Addr{}, netip.Addr{}) {
		t.Error("no address suits")
	}
}

func TestZonesThatCannotTravel(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"[fe80::1%eth0]:1", "[fe80::1]:1"},
		{"[fe80::1%3]:1", "[fe80::1%3]:1"},
		{"10.0.0.1:1", "10.0.0.1:1"},
	} {
		if got := sockAddr(netip.MustParseAddrPort(test.in)).AddrPort.String(); got != test.want {
			t.Errorf("%s became %s, want %s", test.in, got, test.want)
		}
	}
}
