package testbed

import (
	"errors"
	"fmt"
	"net/netip"
)

// Config describes a test bed. The zero value has no networks, only a client host with
// loopback, and the service, which the client cannot reach.
type Config struct {
	Networks []NetworkConfig
	// Zone is what the DNS servers of the service and of all networks know.
	Zone Zone
	// Congestion is the TCP congestion control between client and service, such as
	// "cubic". "" means the system's default. It is set on the routes, because an
	// unprivileged user's namespace cannot set the sysctl.
	Congestion string
}

// NetworkConfig describes one access network.
type NetworkConfig struct {
	// Name is the name of the client's interface. "" means net0, net1 and so on.
	Name string
	// Prefix4 and Prefix6 are the client's addresses with their prefix lengths, such as
	// 192.168.0.23/24. The first address of the prefix (.1) is the gateway's. If the
	// given address is that of the prefix itself (.0), the client gets the second
	// address. A zero prefix means that the client has no address of that family. If
	// both are zero, the client gets 10.N.0.2/24 and 2001:db8:N::2/64, where N counts
	// from 1. Prefixes of different networks must not overlap.
	Prefix4, Prefix6 netip.Prefix
	// Metric is the metric of the client's default routes in table main. 0 means 100
	// for the first network, 200 for the second, and so on.
	Metric int
	// NoDefault leaves table main without a default route through this network.
	NoDefault bool
	// SourceRule adds a routing rule for packets from this network's addresses. It
	// leads to a table with a default route through this network.
	SourceRule bool
	// AnySource lets the gateway forward packets from other networks' addresses.
	// Otherwise the gateway drops them, as access networks do (RFC 2827).
	AnySource bool
	// MTU is the MTU of the client's interface. 0 means 1500.
	MTU int
	// Emulate makes the link to the client an emulated one, which can be slow and
	// lossy. This needs access to /dev/net/tun. nil means a veth pair.
	Emulate *LinkConfig
	// Zone is added to Config.Zone for this network's DNS server. For a name in both,
	// this one counts.
	Zone Zone
}

// The addresses of the service, the same through all networks.
var (
	ServiceAddr4 = netip.MustParseAddr("192.0.2.1")
	ServiceAddr6 = netip.MustParseAddr("2001:db8:ffff::1")
)

// Bed is a running test bed. Its fields must not be changed.
type Bed struct {
	// Client is the host with the networks.
	Client   *Namespace
	Networks []*Network
	// Service can be reached through all networks, at ServiceAddr4 and ServiceAddr6.
	Service *Server

	closers []func()
}

// Network is one access network of the client.
type Network struct {
	Name     string // of the client's interface
	Index    int    // of the client's interface, when the bed was made
	Client4  netip.Addr
	Client6  netip.Addr
	Prefix4  netip.Prefix // masked; zero if the network has no IPv4
	Prefix6  netip.Prefix
	Gateway4 netip.Addr
	Gateway6 netip.Addr
	// Table is the routing table of SourceRule.
	Table int
	// Server is the gateway. It has HTTP and DNS servers of its own at Gateway4 and
	// Gateway6: a destination on the link, and the network's resolver.
	Server *Server
	// Link changes the emulated link. It is nil if the network has none.
	Link *Link
}

// Server is a host with an HTTP server on port 80 and a DNS server on port 53.
type Server struct {
	*Namespace
	Addr4, Addr6 netip.Addr // zero if the server has none of that family
	HTTP         *HTTPServer
	DNS          *DNSServer
}

// New makes a test bed. Everything can be used when New returns. The error wraps
// ErrUnavailable if this host or user cannot make test beds; see Enter.
func New(config Config) (_ *Bed, err error) {
	plans, err := plan(config.Networks)
	if err != nil {
		return nil, err
	}
	b := &Bed{}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.Client, err = b.namespace("client"); err != nil {
		return nil, err
	}
	core, err := b.namespace("service")
	if err != nil {
		return nil, err
	}
	b.Client.congestion, core.congestion = config.Congestion, config.Congestion
	if err := coreAddresses(core); err != nil {
		return nil, err
	}
	for i, p := range plans {
		if err := b.addNetwork(core, i, p, config); err != nil {
			return nil, fmt.Errorf("network %s: %w", p.Name, err)
		}
	}
	if b.Service, err = b.serve(core, ServiceAddr4, ServiceAddr6, config.Zone); err != nil {
		return nil, err
	}
	return b, b.await()
}

// Close ends the servers and the commands that were started in the bed, waits until
// they are gone, and gives up the namespaces. It may be called twice.
func (b *Bed) Close() {
	for len(b.closers) > 0 {
		last := len(b.closers) - 1
		b.closers[last]()
		b.closers = b.closers[:last]
	}
}

// Network returns the network with that name, or nil.
func (b *Bed) Network(name string) *Network {
	for _, n := range b.Networks {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// NetworkOf returns the network whose prefix contains the address, or nil.
func (b *Bed) NetworkOf(a netip.Addr) *Network {
	for _, n := range b.Networks {
		if n.Prefix4.Contains(a) || n.Prefix6.Contains(a) {
			return n
		}
	}
	return nil
}

func (b *Bed) namespace(name string) (*Namespace, error) {
	n, err := newNamespace(name)
	if err == nil {
		b.closers = append(b.closers, n.close)
	}
	return n, err
}

// serve starts the servers of a host.
func (b *Bed) serve(n *Namespace, addr4, addr6 netip.Addr, zone Zone) (*Server, error) {
	s := &Server{Namespace: n, Addr4: addr4, Addr6: addr6}
	var addrs []netip.Addr
	for _, a := range []netip.Addr{addr4, addr6} {
		if a.IsValid() {
			addrs = append(addrs, a)
		}
	}
	var errs [2]error
	if s.DNS, errs[0] = serveDNS(n, addrs, zone); s.DNS != nil {
		b.closers = append(b.closers, s.DNS.close)
	}
	if s.HTTP, errs[1] = serveHTTP(n, addrs, b.networkName); s.HTTP != nil {
		b.closers = append(b.closers, s.HTTP.close)
	}
	return s, errors.Join(errs[:]...)
}

func (b *Bed) networkName(a netip.Addr) string {
	if n := b.NetworkOf(a.Unmap()); n != nil {
		return n.Name
	}
	return ""
}
