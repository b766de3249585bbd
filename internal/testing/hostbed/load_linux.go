package hostbed

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/operator/hostfile"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// packetKinds are the kinds of links without frames. A TUN device stands in for each.
// "wwan" is a modem in raw-IP mode.
var packetKinds = []string{
	"tun", "tuntap", "wireguard", "ppp", "wwan", "sit", "ipip", "gre", "ip6gre", "ip6tnl", "vti", "vti6", "xfrm", "ovpn", "ovpn-dco", "amneziawg", "rmnet",
}

// World is the simulated world around the host of this process's network namespace.
type World struct {
	outside *outside
	wires   []*wire
	pairs   int               // number of veth pairs
	kinds   map[string]string // by the link's name
	dead    map[string]bool   // neighbours that do not answer, by address and link
	seen    *seen
	stacked stacked
}

// Kind returns the kind of a link in the description. It is meant for netmon's option
// of that name.
func (w *World) Kind(name, kernel string) string {
	if k, ok := w.kinds[name]; ok {
		return k
	}
	return kernel
}

// Load puts the host into the network namespace of this process, which must be new, and
// starts the world around it. Close ends the world.
func Load(h *hostfile.Host) (*World, error) {
	w := &World{kinds: map[string]string{}, dead: map[string]bool{}, seen: newSeen()}
	if err := w.load(h); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *World) load(h *hostfile.Host) (err error) {
	for _, s := range h.All("neigh") {
		if s.Value("nud") == "failed" {
			w.dead[s.Args[0].Value+"%"+s.Value("dev")] = true
		}
	}
	// These come before the links: addresses are to be usable at once, and there must
	// be no other addresses than those listed.
	for _, s := range []struct{ key, value string }{
		{"net/ipv6/conf/all/accept_dad", "0"}, {"net/ipv6/conf/default/accept_dad", "0"},
		{"net/ipv6/conf/all/accept_ra", "0"}, {"net/ipv6/conf/default/accept_ra", "0"},
		{"net/ipv6/conf/default/addr_gen_mode", "1"}, {"net/ipv4/conf/all/rp_filter", "0"}, {"net/ipv4/conf/default/rp_filter", "0"},
	} {
		if err := setParameter(s.key, s.value); err != nil {
			return err
		}
	}
	if w.outside, err = newOutside(); err != nil {
		return err
	}
	for _, s := range h.All("link") {
		if err := w.addLink(&s); err != nil {
			return fmt.Errorf("line %d: link %s: %w", s.Line, s.Args[0].Value, err)
		}
	}
	for _, s := range h.All("sysctl") {
		path, value, err := s.Sysctl()
		if err == nil {
			err = setParameter(path, value)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	if err := w.raise(h.All("link")); err != nil {
		return err
	}
	return w.addRest(h)
}

// setParameter sets a parameter below /proc/sys.
func setParameter(path, value string) error {
	err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0o644)
	if errors.Is(err, unix.EROFS) || errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: setting %s (needs a kernel that has it and a writable /proc/sys): %w", testbed.ErrUnavailable, path, err)
	}
	return err
}

// addLink makes a link and leaves it down.
func (w *World) addLink(s *hostfile.Statement) error {
	name, kind := s.Args[0].Value, s.Value("kind")
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if mtu := s.Value("mtu"); mtu != "" {
		attrs.MTU, _ = strconv.Atoi(mtu) // checked by the parser
	}
	var err error
	switch {
	case s.Has("link"):
		err = w.addStacked(attrs, s)
		if kind != "macvlan" {
			w.kinds[name] = kind
		}
	case kind == "bridge":
		err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	case kind == "vrf":
		err = netlink.LinkAdd(&netlink.Vrf{LinkAttrs: attrs, Table: 10})
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("%w: needs a kernel with VRF devices (CONFIG_NET_VRF): %w", testbed.ErrUnavailable, err)
		}
	case slices.Contains(packetKinds, kind):
		err = w.addTun(name, s)
		if kind != "tun" && kind != "tuntap" {
			w.kinds[name] = kind
		}
	default:
		err = w.addVeth(attrs, s)
		switch kind {
		case "", "device":
			w.kinds[name] = "device"
		case "veth":
		default:
			w.kinds[name] = kind
		}
	}
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range s.Args {
		if a.Key == "altname" {
			if err := netlink.LinkAddAltName(link, a.Value); err != nil {
				return fmt.Errorf("altname %s: %w", a.Value, err)
			}
		}
	}
	if group := s.Value("group"); group != "" {
		n, _ := strconv.Atoi(group)
		if err := netlink.LinkSetGroup(link, n); err != nil {
			return err
		}
	}
	master := s.Value("master")
	if master == "" {
		return nil
	}
	m, err := netlink.LinkByName(master)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(link, m)
}

// raise sets loopback and the links up, except links that the description says are
// down.
func (w *World) raise(links []hostfile.Statement) error {
	names := []string{"lo"}
	for i := range links {
		if !links[i].Has("down") {
			names = append(names, links[i].Args[0].Value)
		}
	}
	for _, n := range names {
		link, err := netlink.LinkByName(n)
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
		if err != nil {
			return fmt.Errorf("setting %s up: %w", n, err)
		}
	}
	// The kernel notices carriers a moment later, and routes need them.
	for i := range links {
		s := &links[i]
		if s.Has("down") || s.Value("kind") == "bridge" {
			continue
		}
		if err := awaitCarrier(s.Args[0].Value, !s.Has("nocarrier")); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the world. The namespace itself ends with the process.
func (w *World) Close() {
	for _, x := range w.wires {
		x.close()
	}
	if w.outside != nil {
		w.outside.close()
	}
}

// addRest adds addresses, neighbours, next hops, rules and routes. The description has
// them in the words of ip(8), which adds them, IPv4 first.
func (w *World) addRest(h *hostfile.Host) error {
	announced := announcements(h)
	for _, object := range []string{"norule", "addr", "neigh", "nexthop", "rule", "route"} {
		for _, family := range []string{"-4", "-6", "-0"} { // the last option means no family in particular
			var batch []hostfile.Statement
			for _, s := range h.State {
				if s.Object() == object && familyOf(&s) == family && !announced[s.Line] {
					batch = append(batch, s)
				}
			}
			switch {
			case object == "addr" && family == "-6":
				slices.Reverse(batch) // the kernel lists the newest first, and so does the description
			case object == "route":
				slices.SortStableFunc(batch, firstRoutes)
			}
			if err := run(batch, family); err != nil {
				return err
			}
		}
		if object == "addr" {
			if err := awaitAddresses(); err != nil {
				return err
			}
		}
	}
	if err := w.announce(h, announced); err != nil {
		return err
	}
	for _, s := range h.All("mark") {
		n, _ := strconv.ParseUint(s.Args[0].Value, 0, 32) // checked by the parser
		if err := testbed.Mark(0, uint32(n)); err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	return awaitExpiry(h)
}

// awaitExpiry returns when the lifetimes of expired routes are really over. In the
// clock tick in which a lifetime ends, the kernel reports 0, which also means a route
// without a lifetime.
func awaitExpiry(h *hostfile.Host) error {
	expiring := func(list []hostfile.Statement, value string) (n int) {
		for i := range list {
			if v, ok := list[i].Get("expires"); ok && list[i].Object() == "route" && (value == "" || v == value) {
				n++
			}
		}
		return n
	}
	if expiring(h.State, "0") == 0 {
		return nil
	}
	want := expiring(h.State, "")
	return await("a route that has expired lives for ever", func() (bool, error) {
		now, err := hostfile.Read()
		return err == nil && expiring(now.State, "") >= want, err
	})
}

// awaitAddresses returns when all addresses can be used. The kernel makes them usable
// in a task of its own, even without a search for duplicates.
func awaitAddresses() error {
	return await("an address stays tentative", func() (bool, error) {
		list, err := netlink.AddrList(nil, netlink.FAMILY_V6)
		return !slices.ContainsFunc(list, func(a netlink.Addr) bool {
			if a.Flags&unix.IFA_F_TENTATIVE == 0 {
				return false
			}
			link, err := netlink.LinkByIndex(a.LinkIndex)
			return err == nil && link.Attrs().RawFlags&unix.IFF_RUNNING != 0
		}), err
	})
}

// firstRoutes orders routes so that they can be added. A gateway must be reachable,
// either by a route without a gateway or by one with a longer prefix.
func firstRoutes(a, b hostfile.Statement) int {
	rank := func(s *hostfile.Statement) int {
		if !s.Has("via") && !s.Has("nexthop") && !s.Has("nhid") {
			return 0
		}
		for _, x := range s.Args {
			if p, err := netip.ParsePrefix(x.Value); x.Key == "" && err == nil {
				return 200 - p.Bits()
			}
			if _, err := netip.ParseAddr(x.Value); x.Key == "" && err == nil {
				return 1
			}
		}
		return 200 // default
	}
	return cmp.Compare(rank(&a), rank(&b))
}

// familyOf returns the option of ip(8) for the family of a statement. Without it, ip(8)
// takes a route for one of its gateway's family, which may be the other one. Groups of
// next hops have no family.
func familyOf(s *hostfile.Statement) string {
	ipv6 := s.IPv6()
	switch s.Object() {
	case "addr", "neigh":
		ipv6 = strings.Contains(s.Args[0].Value, ":")
	case "nexthop":
		if s.Has("group") {
			return "-0"
		}
		ipv6 = ipv6 || strings.Contains(s.Value("via"), ":")
	}
	if ipv6 {
		return "-6"
	}
	return "-4"
}
