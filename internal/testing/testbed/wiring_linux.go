package testbed

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sourceTable is the routing table of the first network's source rule. The other
// networks' tables follow.
const sourceTable = 1001

// Interface names in the gateways' namespaces.
const (
	lanName  = "lan"  // to the client
	coreName = "core" // to the service
)

// coreAddresses adds the service's addresses.
func coreAddresses(core *Namespace) error {
	for _, a := range []netip.Addr{ServiceAddr4, ServiceAddr6} {
		if err := core.addAddress("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
			return err
		}
	}
	return nil
}

// addNetwork makes the gateway of network i and connects it to the client and to the
// service.
func (b *Bed) addNetwork(core *Namespace, i int, p NetworkConfig, config Config) error {
	gw, err := b.namespace(p.Name)
	if err != nil {
		return err
	}
	n := &Network{
		Name:    p.Name,
		Client4: p.Prefix4.Addr(), Prefix4: p.Prefix4.Masked(), Gateway4: gatewayOf(p.Prefix4),
		Client6: p.Prefix6.Addr(), Prefix6: p.Prefix6.Masked(), Gateway6: gatewayOf(p.Prefix6),
		Table: sourceTable + i,
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := gw.Sysctl(key, "1"); err != nil {
			return err
		}
	}
	if p.Emulate == nil {
		err = b.Client.veth(p.Name, p.MTU, gw, lanName)
	} else {
		var closeLink func()
		if n.Link, closeLink, err = newLink(*p.Emulate, b.Client, p.Name, p.MTU, gw, lanName); err == nil {
			b.closers = append(b.closers, closeLink)
		}
	}
	if err != nil {
		return err
	}
	link, err := b.Client.handle.LinkByName(p.Name)
	if err != nil {
		return fmt.Errorf("finding the client's interface: %w", err)
	}
	n.Index = link.Attrs().Index
	b.Networks = append(b.Networks, n)
	if err := n.connectCore(core, gw, i); err != nil {
		return err
	}
	if err := n.connectClient(b.Client, gw, p); err != nil {
		return err
	}
	zone := Zone{}
	maps.Copy(zone, config.Zone)
	maps.Copy(zone, p.Zone)
	n.Server, err = b.serve(gw, n.Gateway4, n.Gateway6, zone)
	return err
}

// connectCore connects gateway and service, with routes in both directions.
func (n *Network) connectCore(core, gw *Namespace, i int) error {
	name := fmt.Sprintf("gw%d", i)
	if err := core.veth(name, 1500, gw, coreName); err != nil {
		return err
	}
	for _, t := range []struct {
		core, gw netip.Prefix
		network  netip.Prefix
	}{
		{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 1}), 30),
			netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 2}), 30),
			n.Prefix4,
		}, {
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 7: byte(i), 15: 1}), 64),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 7: byte(i), 15: 2}), 64),
			n.Prefix6,
		},
	} {
		if err := core.addAddress(name, t.core); err != nil {
			return err
		}
		if err := gw.addAddress(coreName, t.gw); err != nil {
			return err
		}
		if err := gw.addDefault(coreName, t.core.Addr(), 0, 0); err != nil {
			return err
		}
		if t.network.IsValid() {
			if err := core.addRoute(name, t.network, t.gw.Addr(), 0, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// connectClient adds the addresses, routes and rules of client and gateway.
func (n *Network) connectClient(client, gw *Namespace, p NetworkConfig) error {
	for _, a := range []netip.Prefix{p.Prefix4, p.Prefix6} {
		if !a.IsValid() {
			continue
		}
		gateway := gatewayOf(a)
		if err := gw.addAddress(lanName, netip.PrefixFrom(gateway, a.Bits())); err != nil {
			return err
		}
		if !p.AnySource {
			if err := gw.filterSources(a.Masked()); err != nil {
				return err
			}
		}
		if err := client.addAddress(p.Name, a); err != nil {
			return err
		}
		if !p.NoDefault {
			if err := client.addDefault(p.Name, gateway, p.Metric, 0); err != nil {
				return err
			}
		}
		if p.SourceRule {
			if err := n.sourceRule(client, a, gateway); err != nil {
				return err
			}
		}
	}
	return nil
}

// sourceRule adds a rule by which packets from the address a leave through this
// network.
func (n *Network) sourceRule(client *Namespace, a netip.Prefix, gateway netip.Addr) error {
	if err := client.addRoute(n.Name, a.Masked(), netip.Addr{}, 0, n.Table); err != nil {
		return err
	}
	if err := client.addDefault(n.Name, gateway, 0, n.Table); err != nil {
		return err
	}
	r := netlink.NewRule()
	r.Family = family(a.Addr())
	r.Priority = n.Table
	r.Src = ipNet(netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
	r.Table = n.Table
	return client.addRule(r)
}

// filterSources makes a gateway drop packets from the client's side whose source is
// outside of the prefix. Routing rules do this for both families, which rp_filter does
// not, and they need no packet filter. Packets for the gateway itself are not affected,
// because table local comes first.
func (n *Namespace) filterSources(p netip.Prefix) error {
	for i, src := range []netip.Prefix{p, {}} {
		r := netlink.NewRule()
		r.Family = family(p.Addr())
		r.Priority = 100 + i
		r.IifName = lanName
		if src.IsValid() {
			r.Src = ipNet(src)
			r.Table = unix.RT_TABLE_MAIN
		} else {
			r.Type = unix.RTN_BLACKHOLE
		}
		if err := n.addRule(r); err != nil {
			return err
		}
	}
	return nil
}

func (n *Namespace) addRule(r *netlink.Rule) error {
	if err := n.handle.RuleAdd(r); err != nil {
		return fmt.Errorf("adding rule %d in %s: %w", r.Priority, n.name, err)
	}
	return nil
}

// veth makes a pair of interfaces, one in n and one in peer, and sets both up.
func (n *Namespace) veth(name string, mtu int, peer *Namespace, peerName string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: peerName, PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(peer.FD())}
	if err := n.handle.LinkAdd(pair); err != nil {
		if err == unix.EOPNOTSUPP {
			err = fmt.Errorf("%w: no veth interfaces (CONFIG_VETH): %w", ErrUnavailable, err)
		}
		return fmt.Errorf("making veth pair %s: %w", name, err)
	}
	if err := peer.setUp(peerName); err != nil {
		return err
	}
	return n.setUp(name)
}

func (n *Namespace) setUp(name string) error {
	link, err := n.handle.LinkByName(name)
	if err == nil {
		err = n.handle.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("setting %s up in %s: %w", name, n.name, err)
	}
	return nil
}

func (n *Namespace) addAddress(name string, a netip.Prefix) error {
	link, err := n.handle.LinkByName(name)
	if err == nil {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		err = n.handle.AddrAdd(link, addr)
	}
	if err != nil {
		return fmt.Errorf("adding %s to %s in %s: %w", a, name, n.name, err)
	}
	return nil
}

func (n *Namespace) addDefault(name string, gateway netip.Addr, metric, table int) error {
	zero := netip.IPv4Unspecified()
	if gateway.Is6() {
		zero = netip.IPv6Unspecified()
	}
	return n.addRoute(name, netip.PrefixFrom(zero, 0), gateway, metric, table)
}

// addRoute adds a route. Without a gateway the destination is on the link. Table 0
// means main.
func (n *Namespace) addRoute(name string, dst netip.Prefix, gateway netip.Addr, metric, table int) error {
	link, err := n.handle.LinkByName(name)
	if err == nil {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Priority: metric, Table: table, Congctl: n.congestion}
		if gateway.IsValid() {
			r.Gw = gateway.AsSlice()
		} else {
			r.Scope = netlink.SCOPE_LINK
		}
		err = n.handle.RouteAdd(r)
	}
	if err != nil {
		return fmt.Errorf("adding route to %s by %s in %s: %w", dst, name, n.name, err)
	}
	return nil
}

// await returns when all interfaces carry packets and all addresses can be bound. The
// kernel takes a moment for both.
func (b *Bed) await() error {
	namespaces := []*Namespace{b.Client, b.Service.Namespace}
	for _, n := range b.Networks {
		namespaces = append(namespaces, n.Server.Namespace)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, n := range namespaces {
		for {
			what, err := n.pending()
			if err != nil {
				return err
			}
			if what == "" {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s in %s does not come up", what, n.name)
			}
			// No event tells that a queueing discipline is in place. In practice this
			// is never reached twice.
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// pending names a link or address that is not usable yet. It returns "" if there is
// none.
func (n *Namespace) pending() (string, error) {
	links, err := n.handle.LinkList()
	if err != nil {
		return "", fmt.Errorf("listing links of %s: %w", n.name, err)
	}
	for _, l := range links {
		if a := l.Attrs(); a.Flags&net.FlagUp != 0 && a.OperState != netlink.OperUp && a.OperState != netlink.OperUnknown {
			return a.Name, nil
		}
	}
	addrs, err := n.handle.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return "", fmt.Errorf("listing addresses of %s: %w", n.name, err)
	}
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			return a.IP.String(), nil
		}
	}
	return "", nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
