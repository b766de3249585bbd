package daemon

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policies"
	"github.com/socket-intents/mamma/policy"
)

// Statements of the host's services count if the configuration says nothing.
func TestFactsDecide(t *testing.T) {
	facts := hostfacts.NewFacts(map[string]hostfacts.Link{
		"wlan0": {Metered: hostfacts.MeteredGuessYes, Connectivity: hostfacts.ConnectivityPortal, Connectivity6: hostfacts.ConnectivityFull},
		"wwan0": {Metered: hostfacts.MeteredNo, Modem: &hostfacts.Modem{Roaming: true, Signal: -1}},
	}, nil)
	type row struct {
		Prefix, Cost, Source, Doubt string
		Overruled                   bool
	}
	for _, tt := range []struct {
		name, conf string
		want       []row
	}{
		{"nothing is configured", "auto = true", []row{
			{"192.168.0.0/24%wlan0", "metered", "NetworkManager", "a portal wants its users to log in (NetworkManager)", false},
			{"10.64.0.0/10%wwan0", "expensive", "ModemManager", "", false},
			{"2001:db8:1::/64%wlan0", "metered", "NetworkManager", "", false},
		}},
		{"costs are configured", "auto = true\nprefix \"192.168.0.0/24\" { cost = \"free\" }\ninterface \"wwan0\" { cost = \"metered\" }", []row{
			{"192.168.0.0/24%wlan0", "free", "configuration", "a portal wants its users to log in (NetworkManager)", true},
			{"10.64.0.0/10%wwan0", "metered", "configuration", "", true},
			{"2001:db8:1::/64%wlan0", "metered", "NetworkManager", "", false},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nets := netmon.NewSnapshot(laptop())
			list := manage(parse(t, tt.conf), nets, facts)
			all := told(list, facts)
			var got []row
			for i := range list {
				p := &list[i].prefix
				r := row{Prefix: p.ID.String(), Cost: p.Cost.String(), Source: all[p.ID].Cost, Doubt: networks(list, nets)[i].Doubt}
				if f := all[p.ID].Facts; len(f) > 0 {
					r.Overruled = f[0].Overruled
				}
				got = append(got, r)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The gateway that measurements belong to is shown. An attachment that a service names
// is not, because the service's own facts show that.
func TestGatewayIsTold(t *testing.T) {
	s := laptop()
	list := manage(parse(t, "auto = true"), netmon.NewSnapshot(s), nil)
	list[0].attachment = "gateway 02:00:00:00:00:01"
	list[1].attachment = "modem Example"
	all := told(list, nil)
	if diff := cmp.Diff([]mam.Fact{{Name: "gateway", Value: "02:00:00:00:00:01", Source: "kernel"}}, all[list[0].prefix.ID].Facts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if f := all[list[1].prefix.ID].Facts; len(f) != 0 {
		t.Errorf("of a modem: %+v", f)
	}
}

// If the facts change and decisions depend on them, the networks are assembled again.
// Otherwise only what is shown changes, and leases hold.
func TestFactsAreFollowed(t *testing.T) {
	d, err := newDaemon(t.Context(), Options{Policies: policies.All()}, newScript(laptop()).watch)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	c := d.current
	at := c.epoch
	c.follow(false)
	if c.epoch != at {
		t.Error("nothing has changed, and all was renewed")
	}
	c.heard = hostfacts.NewFacts(map[string]hostfacts.Link{"wlan0": {Wifi: &hostfacts.Wifi{Signal: 70}}}, nil)
	c.follow(false)
	if c.epoch != at || c.heard != d.facts.now() {
		t.Error("a signal made decisions begin anew")
	}
	c.heard = hostfacts.NewFacts(map[string]hostfacts.Link{"wlan0": {Metered: hostfacts.MeteredYes}}, nil)
	c.follow(false)
	if c.epoch != at+1 {
		t.Error("another cost was not followed")
	}
}

func TestSystemBusIsConfigured(t *testing.T) {
	for _, tt := range []struct {
		conf string
		on   bool
	}{
		{`policy "sample" {}`, true}, {"system_bus = \"auto\"", true}, {"system_bus = \"off\"", false}, {"system_bus = \"/run/x\"", true},
		{"prefix 192.168.0.0/24 { enabled 1; };", false},
	} {
		if got := newHostFacts(parse(t, tt.conf), nil).watcher != nil; got != tt.on {
			t.Errorf("%s: services are followed: %v", tt.conf, got)
		}
	}
	if newHostFacts(config.Auto(), nil).watcher == nil {
		t.Error("the automatic configuration asks nobody")
	}
	var none hostFacts
	if none.now() != nil || none.changed() != nil || none.run(context.Background()) != nil {
		t.Error("where nobody is asked, something is known")
	}
	none.linksChanged()
}

// vpn returns laptop with a tunnel that is not a default route.
func vpn() netmon.State {
	s := laptop()
	s.Links = append(s.Links, netmon.Link{Index: 9, Name: "wg0", Type: "wireguard", Up: true, Running: true})
	s.Addrs = append(s.Addrs, address(9, "10.9.0.2/24", netmon.ScopeGlobal))
	return s
}

// Names below the domain of a tunnel are looked up over the tunnel, whatever network is
// chosen. The configuration counts for more, and an access network does not get names that
// belong to others.
func TestNamesByDomain(t *testing.T) {
	servers := func(s ...string) (list []netip.AddrPort) {
		for _, s := range s {
			list = append(list, netip.MustParseAddrPort(s))
		}
		return list
	}
	facts := hostfacts.NewFacts(nil, map[int]hostfacts.DNS{
		2: {Source: hostfacts.Resolved, Servers: servers("192.168.0.53:53", "[fe80::53%2]:53"), DefaultRoute: true, Domains: []hostfacts.Domain{{Name: "com"}, {Name: "home.example", RouteOnly: true}}},
		3: {Source: hostfacts.Resolved, Servers: servers("10.64.0.53:53"), DefaultRoute: true},
		9: {Source: hostfacts.Resolved, Servers: servers("10.9.0.53:53"), Domains: []hostfacts.Domain{{Name: "corp.example"}, {Name: "lab.corp.example", RouteOnly: true}}},
		// This interface has gone.
		8: {Source: hostfacts.Resolved, Servers: servers("10.8.0.53:53"), Domains: []hostfacts.Domain{{Name: "example", RouteOnly: true}}},
	})
	// The servers of the tunnel are for all names. So are, says a service, those of an
	// access network.
	all := hostfacts.NewFacts(nil, map[int]hostfacts.DNS{
		2: {Source: hostfacts.Resolved, Servers: servers("192.168.0.53:53"), Domains: []hostfacts.Domain{{Name: "b", RouteOnly: true}}, Root: true, DefaultRoute: true},
		3: {Source: hostfacts.Resolved, Servers: servers("10.64.0.53:53"), Root: true, DefaultRoute: true},
		9: {Source: hostfacts.Resolved, Servers: servers("10.9.0.53:53"), Root: true, DefaultRoute: true},
	})
	const none = "-"
	for _, tt := range []struct {
		name, conf string
		facts      *hostfacts.Facts
		host       string
		want       []string // whom the networks ask, then the default
	}{
		{"a name of all", "auto = true", all, "www.example.net", []string{"10.9.0.53:53", "10.9.0.53:53", "10.9.0.53:53"}},
		{"a name of all, but of a network's domain", "auto = true", all, "www.b", []string{"192.168.0.53:53", "192.168.0.53:53", "192.168.0.53:53"}},
		{"a name of all, but where servers are configured", "auto = true\ninterface \"wlan0\" { nameserver = [\"192.168.0.1\"] }", all, "www.example.net", []string{"192.168.0.1:53", "10.9.0.53:53", "10.9.0.53:53"}},
		{"a name of a network's domain, where servers are configured", "auto = true\ninterface \"wwan0\" { nameserver = [\"10.64.0.1\"] }", all, "www.b", []string{"192.168.0.53:53", "192.168.0.53:53", "192.168.0.53:53"}},
		{"a name of nobody", "auto = true", facts, "www.example.net", []string{"192.168.0.53:53", "10.64.0.53:53", none}},
		{"a name of the tunnel's", "auto = true", facts, "intranet.Corp.Example.", []string{"10.9.0.53:53", "10.9.0.53:53", "10.9.0.53:53"}},
		{"the domain itself", "auto = true", facts, "corp.example", []string{"10.9.0.53:53", "10.9.0.53:53", "10.9.0.53:53"}},
		{"another domain with the same end", "auto = true", facts, "acorp.example", []string{"192.168.0.53:53", "10.64.0.53:53", none}},
		{"what an access network completes names with", "auto = true", facts, "www.example.com", []string{"192.168.0.53:53", "10.64.0.53:53", none}},
		{"what an access network is said to know", "auto = true", facts, "nas.home.example", []string{"192.168.0.53:53", "192.168.0.53:53", "192.168.0.53:53"}},
		{"the tunnel is not to be asked", "auto = true\ninterface \"wg0\" {\n link_dns = false\n enabled = false\n}", facts, "x.corp.example", []string{"192.168.0.53:53", "10.64.0.53:53", none}},
		{"the tunnel's servers are configured", "auto = true\ninterface \"wg0\" { nameserver = [\"10.9.0.1\"] }", facts, "x.corp.example", []string{"10.9.0.1:53", "10.9.0.1:53", "10.9.0.1:53", "10.9.0.1:53"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nets, cfg := netmon.NewSnapshot(vpn()), parse(t, tt.conf)
			links := &linkDNS{run: t.TempDir()}
			links.look(nets, tt.facts)
			list := slices.DeleteFunc(manage(cfg, nets, tt.facts), func(m managed) bool { return m.prefix.Family() == policy.IPv6 })
			links.use(cfg, list)
			r := newResolvers(nil)
			defer r.close()
			lookups, names := r.of(cfg, nets, list, tt.facts)
			own, other := names.route(list, lookups, lookup{r.unbound})
			first := func(res mam.Resolver) string {
				if n, ok := res.(mam.NameRouter); ok {
					if to, _ := n.For(tt.host); to != nil {
						res = to
					}
				}
				switch l := res.(type) {
				case routed:
					res = l.lookup
				case nil:
					return none
				}
				if res == (lookup{r.unbound}) {
					return none
				}
				return res.(lookup).Servers()[0].String()
			}
			var got []string
			for i := range list {
				got = append(got, first(own[list[i].prefix.ID]))
			}
			if diff := cmp.Diff(tt.want, append(got, first(other))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Servers that are only for some names, or only for TLS, are not asked about all names.
func TestResolvedServers(t *testing.T) {
	nets := netmon.NewSnapshot(laptop())
	server := netip.MustParseAddrPort("10.64.0.53:53")
	for _, tt := range []struct {
		name string
		dns  hostfacts.DNS
		want []netip.AddrPort
	}{
		{"for all", hostfacts.DNS{Source: hostfacts.Resolved, Servers: []netip.AddrPort{server}, DefaultRoute: true}, []netip.AddrPort{server}},
		{"for domains", hostfacts.DNS{Source: hostfacts.Resolved, Servers: []netip.AddrPort{server}}, nil},
		{"by TLS", hostfacts.DNS{Source: hostfacts.Resolved, Servers: []netip.AddrPort{server}, DefaultRoute: true, TLS: true}, nil},
		{"of this host", hostfacts.DNS{Source: hostfacts.Resolved, Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}, DefaultRoute: true}, nil},
	} {
		links := &linkDNS{run: t.TempDir()}
		links.look(nets, hostfacts.NewFacts(nil, map[int]hostfacts.DNS{3: tt.dns}))
		cfg := parse(t, "auto = true")
		list := manage(cfg, nets, nil)
		links.use(cfg, list)
		if diff := cmp.Diff(tt.want, list[1].settings.Nameservers, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
	}
}
