package netmon_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	mdnetlink "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// The tests below make changes about which the kernel sends no message, or sends it where
// one would not look for it. The monitor sees each of them nevertheless.

// gatewayOf returns the router by which the network of an address leads to the whole
// Internet. It is invalid if the network does not lead there.
func gatewayOf(s *netmon.Snapshot, a netip.Addr) netip.Addr {
	p := s.PrefixWith(a)
	if p == nil || !p.HasDefault {
		return netip.Addr{}
	}
	return p.Gateway
}

// default6 adds an IPv6 default route with a lifetime.
func default6(t *testing.T, ns *testbed.Namespace, index int, gateway string, metric, seconds int) {
	t.Helper()
	r := oracle.Route{
		Table: oracle.TableMain, Kind: unix.RTN_UNICAST, Prefix: netip.MustParsePrefix("::/0"), Metric: metric, Protocol: unix.RTPROT_STATIC,
		Hops: []oracle.Step{{Hop: oracle.Hop{Index: index, Gateway: netip.MustParseAddr(gateway)}, Weight: 1}}, Expires: time.Duration(seconds) * time.Second,
	}
	c := dialRoute(t, ns)
	defer func() { _ = c.Close() }()
	must(t, request(c, unix.RTM_NEWROUTE, r.Append(nil)))
}

// An IPv6 route that has expired stays in the dump for up to half a minute, and only then
// the kernel reports its removal. The monitor does not use it from the moment at which it
// expires.
func TestRouteExpires(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	n := b.Networks[0]
	m.KeepRoutes(true)
	const better = 1 // than any other
	default6(t, b.Client, n.Index, "fe80::77", better, 1)
	router := netip.MustParseAddr("fe80::77")
	held := func(s *netmon.Snapshot) bool {
		return slices.ContainsFunc(s.Routes(), func(r oracle.Route) bool { return r.Metric == better })
	}
	await(t, m, "the route that ends", func(s *netmon.Snapshot) bool { return gatewayOf(s, n.Client6) == router && held(s) })
	start := time.Now()
	await(t, m, "its end", func(s *netmon.Snapshot) bool { return gatewayOf(s, n.Client6) != router && !held(s) })
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("its end was seen after %v", took)
	}
}

// advertise makes the router of a network send an advertisement to all hosts (RFC 4861,
// section 4.2), with an option that follows.
func advertise(t *testing.T, n *testbed.Network, preference uint8, life uint16, option []byte) {
	t.Helper()
	c, err := n.Server.ListenPacket("ip6:ipv6-icmp", "::")
	must(t, err)
	defer func() { _ = c.Close() }()
	p := ipv6.NewPacketConn(c)
	must(t, p.SetMulticastHopLimit(255)) // what else comes from beyond the link
	links, err := n.Server.Handle().LinkList()
	must(t, err)
	near := slices.IndexFunc(links, func(l netlink.Link) bool {
		list, err := n.Server.Handle().AddrList(l, netlink.FAMILY_V6)
		return err == nil && slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.IP.Equal(n.Gateway6.AsSlice()) })
	})
	if near < 0 {
		t.Fatal("the router has no link to the client")
	}
	b := binary.BigEndian.AppendUint16([]byte{134, 0, 0, 0, 64, preference << 3}, life)
	b = append(append(b, make([]byte, 8)...), option...)
	_, err = p.WriteTo(b, &ipv6.ControlMessage{IfIndex: links[near].Attrs().Index}, &net.IPAddr{IP: netip.IPv6LinkLocalAllNodes().AsSlice()})
	must(t, err)
}

// A router advertisement gives its route another lifetime and another preference (RFC
// 4191). The kernel does not report a new lifetime, but it reports the prefix or the name
// server in the same message.
func TestRouterAnnounces(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	m.KeepRoutes(true)
	n := b.Networks[0]
	must(t, b.Client.Sysctl("net/ipv6/conf/"+n.Name+"/accept_ra", "2"))
	prefix := append([]byte{3, 4, 64, 0x80, 0, 0, 0x70, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0}, netip.MustParseAddr("2001:db8:99::").AsSlice()...)
	server := append([]byte{25, 3, 0, 0, 0, 0, 0x70, 0x80}, netip.MustParseAddr("2001:db8:99::53").AsSlice()...)
	const high, medium, low = 1, 0, 3
	announced := func(preference uint8, least, most time.Duration) func(*netmon.Snapshot) bool {
		return func(s *netmon.Snapshot) bool {
			return slices.ContainsFunc(s.Routes(), func(r oracle.Route) bool {
				return r.Protocol == unix.RTPROT_RA && r.Wide() && r.Preference == preference && r.Expires > least && r.Expires <= most
			})
		}
	}
	advertise(t, n, medium, 600, prefix)
	await(t, m, "the router", announced(medium, 500*time.Second, 600*time.Second))
	start := time.Now()
	for _, step := range []struct {
		name       string
		preference uint8
		life       uint16
		option     []byte
	}{
		{"a longer life", medium, 3000, prefix},
		{"a shorter one", medium, 900, server},
		{"high preference", high, 900, prefix},
		{"low preference", low, 900, server},
	} {
		advertise(t, n, step.preference, step.life, step.option)
		life := time.Duration(step.life) * time.Second
		await(t, m, step.name, announced(step.preference, life-100*time.Second, life))
	}
	// The kernel is asked every 5 s in any case. That alone would take 10 s or more to see
	// the four changes.
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("what a router told four times was seen in %v", took)
	}
}

// If a router does not answer, the next one of the same metric takes its place, or nobody
// does. The kernel reports nothing about the route, but it reports the neighbour.
func TestRouterDies(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	n := b.Networks[0]
	for i, gateway := range []string{"fe80::a", "fe80::b"} {
		object := oracle.Object{ID: 70 + i, Protocol: unix.RTPROT_STATIC, Step: oracle.Step{Hop: oracle.Hop{Index: n.Index, Gateway: netip.MustParseAddr(gateway)}}}
		r := oracle.Route{
			Table: oracle.TableMain, Kind: unix.RTN_UNICAST, Prefix: netip.MustParsePrefix("::/0"), Metric: 1, Protocol: unix.RTPROT_STATIC,
			Object: object.ID, Preference: []uint8{1, 3}[i], // high, low
		}
		c := dialRoute(t, b.Client)
		must(t, request(c, unix.RTM_NEWNEXTHOP, object.Append(nil)))
		must(t, request(c, unix.RTM_NEWROUTE, r.Append(nil)))
		_ = c.Close()
	}
	by := func(router string) func(*netmon.Snapshot) bool {
		return func(s *netmon.Snapshot) bool { return gatewayOf(s, n.Client6) == netip.MustParseAddr(router) }
	}
	await(t, m, "the preferred router", by("fe80::a"))
	// The kernel reports that a neighbour has failed only if it was one before.
	must(t, b.Client.Handle().NeighSet(&netlink.Neigh{
		LinkIndex: n.Index, Family: netlink.FAMILY_V6, State: netlink.NUD_REACHABLE, IP: netip.MustParseAddr("fe80::a").AsSlice(),
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9},
	}))
	dead := &netlink.Neigh{LinkIndex: n.Index, Family: netlink.FAMILY_V6, State: netlink.NUD_FAILED, IP: netip.MustParseAddr("fe80::a").AsSlice()}
	start := time.Now()
	must(t, b.Client.Handle().NeighSet(dead))
	await(t, m, "the other router", by("fe80::b"))
	// The kernel is asked every 5 s in any case. An event shows the change earlier.
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("that a router has failed was seen after %v", took)
	}
	must(t, b.Client.Handle().NeighDel(dead))
	await(t, m, "the preferred router again", by("fe80::a"))
}

// Neighbours that do not answer and that nobody knows, which every user can cause, hardly
// count: each event ends the leases of all users.
func TestStrangersFail(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	n := b.Networks[0]
	before := m.Kernel().Epoch()
	const many = 200
	for i := range many {
		stranger := &netlink.Neigh{
			LinkIndex: n.Index, Family: netlink.FAMILY_V6, State: netlink.NUD_REACHABLE, IP: net.ParseIP(fmt.Sprintf("fe80::dead:%x", i+1)),
			HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9},
		}
		must(t, b.Client.Handle().NeighSet(stranger))
		stranger.State, stranger.HardwareAddr = netlink.NUD_FAILED, nil
		must(t, b.Client.Handle().NeighSet(stranger))
	}
	l := link(t, b.Client, n.Name)
	a := address(t, "2001:db8:78::5/64")
	a.Flags = unix.IFA_F_NODAD
	must(t, b.Client.Handle().AddrAdd(l, a)) // its event comes last
	await(t, m, "the address", func(s *netmon.Snapshot) bool {
		return slices.ContainsFunc(s.Addrs(), func(x netmon.Addr) bool { return x.Prefix.Addr() == netip.MustParseAddr("2001:db8:78::5") })
	})
	if events := m.Kernel().Epoch() - before; events > many/4 {
		t.Errorf("%d neighbours that failed counted as %d events", many, events)
	}
}

// An address past its preferred lifetime is only for old connections. Past its valid
// lifetime it is gone.
func TestAddressLifetime(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	n := b.Networks[0]
	l := link(t, b.Client, n.Name)
	a := address(t, "2001:db8:77::5/64")
	a.Flags, a.PreferedLft, a.ValidLft = unix.IFA_F_NODAD, 1, 3
	must(t, b.Client.Handle().AddrAdd(l, a))
	state := func(deprecated bool) func(*netmon.Snapshot) bool {
		return func(s *netmon.Snapshot) bool {
			return slices.ContainsFunc(s.Addrs(), func(x netmon.Addr) bool {
				return x.Prefix.String() == "2001:db8:77::5/64" && x.Deprecated == deprecated
			})
		}
	}
	await(t, m, "the preferred address", state(false))
	await(t, m, "the deprecated address", state(true))
	await(t, m, "its end", func(s *netmon.Snapshot) bool { return !state(true)(s) && !state(false)(s) })
}

// When a next-hop object changes or goes, the kernel reports nothing about the IPv4 routes
// that use it.
func TestNextHopObjectChanges(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	n := b.Networks[0]
	c := dialRoute(t, b.Client)
	defer func() { _ = c.Close() }()
	object := oracle.Object{ID: 70, Protocol: unix.RTPROT_STATIC, Step: oracle.Step{Hop: oracle.Hop{Index: n.Index, Gateway: n.Client4.Next().Next()}}}
	must(t, request(c, unix.RTM_NEWNEXTHOP, object.Append(nil)))
	r := oracle.Route{
		Table: oracle.TableMain, Kind: unix.RTN_UNICAST, Prefix: netip.MustParsePrefix("0.0.0.0/0"), Metric: 1, Protocol: unix.RTPROT_STATIC, Object: object.ID,
	}
	must(t, request(c, unix.RTM_NEWROUTE, r.Append(nil)))
	by := func(g netip.Addr) func(*netmon.Snapshot) bool {
		return func(s *netmon.Snapshot) bool { return gatewayOf(s, n.Client4) == g }
	}
	await(t, m, "the route by an object", by(object.Gateway))
	object.Gateway = object.Gateway.Next()
	must(t, replace(c, unix.RTM_NEWNEXTHOP, object.Append(nil)))
	await(t, m, "the object's other gateway", by(object.Gateway))
	must(t, request(c, unix.RTM_DELNEXTHOP, object.Name()))
	await(t, m, "the gateway from before", by(n.Gateway4))
}

// Attributes of a link change without its addresses and routes.
func TestLinkAttributes(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	n := b.Networks[0]
	l := link(t, b.Client, n.Name)
	must(t, b.Client.Handle().LinkAddAltName(l, "uplink-fibre"))
	await(t, m, "an altname", func(s *netmon.Snapshot) bool { x, ok := s.LinkByName("uplink-fibre"); return ok && x.Index == n.Index })
	must(t, b.Client.Handle().LinkDelAltName(l, "uplink-fibre"))
	await(t, m, "its end", func(s *netmon.Snapshot) bool { _, ok := s.LinkByName("uplink-fibre"); return !ok })
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br7"}}
	must(t, b.Client.Handle().LinkAdd(bridge))
	must(t, b.Client.Handle().LinkSetMaster(l, bridge))
	await(t, m, "what it is a port of", func(s *netmon.Snapshot) bool {
		x, _ := s.Link(n.Index)
		master, ok := s.Link(x.Master)
		return ok && master.Name == "br7"
	})
	must(t, b.Client.Handle().LinkSetNoMaster(l))
	await(t, m, "that it is none any more", func(s *netmon.Snapshot) bool { x, _ := s.Link(n.Index); return x.Master == 0 })
	must(t, b.Client.Handle().LinkSetMulticastOff(l)) // a flag that does not matter
	must(t, b.Client.Handle().LinkSetDown(l))
	must(t, b.Client.Handle().LinkSetName(l, "renamed0"))
	must(t, b.Client.Handle().LinkSetUp(l))
	await(t, m, "another name", func(s *netmon.Snapshot) bool {
		p := s.PrefixWith(n.Client4)
		return p != nil && p.Interface == "renamed0"
	})
}

func dialRoute(t *testing.T, ns *testbed.Namespace) *mdnetlink.Conn {
	t.Helper()
	c, err := mdnetlink.Dial(unix.NETLINK_ROUTE, &mdnetlink.Config{NetNS: ns.FD()})
	must(t, err)
	return c
}

func request(c *mdnetlink.Conn, kind mdnetlink.HeaderType, body []byte) error {
	return send(c, kind, mdnetlink.Create|mdnetlink.Append, body)
}

func replace(c *mdnetlink.Conn, kind mdnetlink.HeaderType, body []byte) error {
	return send(c, kind, mdnetlink.Create|mdnetlink.Replace, body)
}

func send(c *mdnetlink.Conn, kind mdnetlink.HeaderType, flags mdnetlink.HeaderFlags, body []byte) error {
	if kind == unix.RTM_DELNEXTHOP {
		flags = 0
	}
	_, err := c.Execute(mdnetlink.Message{Header: mdnetlink.Header{Type: kind, Flags: mdnetlink.Request | mdnetlink.Acknowledge | flags}, Data: body})
	return err
}
