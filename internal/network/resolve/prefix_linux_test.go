package resolve

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // ForTest says what is missing
	goleak.VerifyTestMain(m)
}

// big is a name for which the networks' servers answer over TCP only.
const big = "big."

// networkZone is what the server of one network answers: names of its own, and one name for
// which every network has another answer.
func networkZone(network, addr string) testbed.Zone {
	z := testbed.Zone{"where.example.net": {"A " + addr}}
	for i := range 10 {
		z[fmt.Sprintf("n%d.%s.example.net", i, network)] = []string{"A 192.0.2.1", "AAAA 2001:db8:ffff::1"}
	}
	for i := range 120 {
		name := big + network + ".example.net"
		z[name] = append(z[name], fmt.Sprintf("A 198.51.100.%d", i+1))
	}
	return z
}

// TestNoQueryByOtherNetwork resolves over two networks at the same time and
// looks at every packet that leaves the host.
func TestNoQueryByOtherNetwork(t *testing.T) {
	service := netip.AddrPortFrom(testbed.ServiceAddr4, 53)
	conf := write(t, "resolv.conf", "nameserver "+service.String()+"\n")
	tests := []struct {
		name   string
		rules  bool // packets are routed by their source address
		config func(n *testbed.Network) Config
	}{
		{"address, source rules", true, func(n *testbed.Network) Config {
			return Config{BindTo: n.Client4, Servers: []netip.AddrPort{netip.AddrPortFrom(n.Gateway4, 53)}}
		}},
		{"address and device, no source rules", false, func(n *testbed.Network) Config {
			return Config{BindTo: n.Client4, Device: n.Name, Servers: []netip.AddrPort{netip.AddrPortFrom(n.Gateway4, 53)}}
		}},
		{"IPv6", false, func(n *testbed.Network) Config {
			return Config{BindTo: n.Client6, Device: n.Name, Servers: []netip.AddrPort{netip.AddrPortFrom(n.Gateway6, 53)}}
		}},
		{"device holds a query to the other family", false, func(n *testbed.Network) Config {
			return Config{BindTo: n.Client4, Device: n.Name, Servers: []netip.AddrPort{netip.AddrPortFrom(n.Gateway6, 53)}}
		}},
		// Both networks have the same server. The default route leads to it over the first
		// network (doc/original/daemon.md D30).
		{"default servers, bound", true, func(n *testbed.Network) Config { return Config{BindTo: n.Client4, ResolvConf: conf} }},
		{"default servers, bound to device", false, func(n *testbed.Network) Config {
			return Config{BindTo: n.Client4, Device: n.Name, ResolvConf: conf}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wifi, lte := networkZone("wlan0", "192.0.2.11"), networkZone("wwan0", "192.0.2.12")
			all := testbed.Zone{}
			for _, z := range []testbed.Zone{wifi, lte} {
				for name, records := range z {
					all[name] = records
				}
			}
			b := testbed.ForTest(t, testbed.Config{
				Networks: []testbed.NetworkConfig{
					{Name: "wlan0", SourceRule: tt.rules, Zone: wifi},
					{Name: "wwan0", SourceRule: tt.rules, Zone: lte},
				},
				Zone: all,
			})
			capture, err := b.Client.Capture()
			if err != nil {
				testbed.SkipOrFail(t, err)
			}
			var wg sync.WaitGroup
			for _, n := range b.Networks {
				r := resolver(t, tt.config(n))
				r.open = b.Client.Dial
				wg.Go(func() { lookupAll(t, r, n.Name) })
			}
			wg.Wait()
			checkPackets(t, b, capture)
		})
	}
}

// lookupAll asks for the names of one network.
func lookupAll(t *testing.T, r *Resolver, network string) {
	for i := range 10 {
		if _, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.%s.example.net", i, network), policy.Unspecified); err != nil {
			t.Error(err)
		}
	}
	a, err := r.Lookup(t.Context(), big+network+".example.net", policy.IPv4)
	if err != nil || len(a.Addrs) != maxAddrs {
		t.Errorf("%d addresses, %v", len(a.Addrs), err)
	}
	if _, err := r.Lookup(t.Context(), "none."+network+".example.net", policy.IPv4); err == nil {
		t.Error("found what does not exist")
	}
}

// checkPackets looks for queries, over UDP and TCP, that leave by another network than
// their own.
func checkPackets(t *testing.T, b *testbed.Bed, capture *testbed.Capture) {
	t.Helper()
	packets := capture.Close()
	if n := capture.Lost(); n > 0 {
		t.Errorf("capture lost %d packets", n)
	}
	queries, streams := map[string]int{}, map[string]int{}
	for _, p := range packets {
		if !p.Outgoing || p.Dst.Port() != 53 {
			continue
		}
		n := b.Network(p.Interface)
		if n == nil || p.Src.Addr() != n.Client4 && p.Src.Addr() != n.Client6 {
			t.Errorf("left by another network: %v", p)
			continue
		}
		if p.SYN {
			streams[p.Interface]++
		}
		if p.Question == "" {
			continue
		}
		queries[p.Interface]++
		if !strings.Contains(p.Question, "."+p.Interface+".") {
			t.Errorf("another network's query: %v", p)
		}
	}
	for _, n := range b.Networks {
		// There are ten names in both families, the long answer and the missing name. There
		// are more queries if a response was late.
		if queries[n.Name] < 22 || streams[n.Name] < 1 {
			t.Errorf("%s: saw %d queries over UDP and %d connections", n.Name, queries[n.Name], streams[n.Name])
		}
	}
}

// TestNetworksAnswerDifferently checks that each network's answers for a name stay with
// that network.
func TestNetworksAnswerDifferently(t *testing.T) {
	b := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{
		{Name: "wlan0", Zone: networkZone("wlan0", "192.0.2.11")},
		{Name: "wwan0", Zone: networkZone("wwan0", "192.0.2.12")},
	}})
	for i, n := range b.Networks {
		r := resolver(t, Config{BindTo: n.Client4, Device: n.Name, Servers: []netip.AddrPort{netip.AddrPortFrom(n.Gateway4, 53)}})
		r.open = b.Client.Dial
		for range 2 {
			a := lookup(t, r, "where.example.net", policy.IPv4)
			if diff := cmp.Diff(addrs([]string{"192.0.2.11", "192.0.2.12"}[i]), a.Addrs, addrEqual); diff != "" {
				t.Errorf("%s (-want +got):\n%s", n.Name, diff)
			}
		}
		if got := n.Server.DNS.Queries(); len(got) != 1 || got[0].Type != dns.TypeA || got[0].Remote.Addr() != n.Client4 {
			t.Errorf("%s was asked %v", n.Name, got)
		}
	}
}

// TestServerOfThisHost asks a name server that this host runs at the address of another
// network, for the machines behind it. A socket that is bound to a device would send the
// query to that device's gateway.
func TestServerOfThisHost(t *testing.T) {
	b := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	wlan, wwan := b.Networks[0], b.Networks[1]
	server := netip.AddrPortFrom(wwan.Client4, 53)
	pc, err := b.Client.ListenPacket("udp4", server.String())
	if err != nil {
		t.Fatal(err)
	}
	answer := zone(t, "www.example.com. 300 IN A 192.0.2.1")
	d := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { answer(w, q) })}
	var serving sync.WaitGroup
	serving.Go(func() { _ = d.ActivateAndServe() })
	t.Cleanup(func() {
		if err := pc.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	r := resolver(t, Config{BindTo: wlan.Client4, Device: wlan.Name, Servers: []netip.AddrPort{server}})
	r.open = b.Client.Dial
	if a := lookup(t, r, "www.example.com", policy.IPv4); len(a.Addrs) != 1 {
		t.Errorf("found %v", a.Addrs)
	}
}
