package hostfile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	rt "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func hostUint16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
func hostUint32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// Read describes the network namespace of the calling thread. It needs no privilege.
func Read() (*Host, error) {
	h := &Host{Title: "A host"}
	r := reader{host: h, names: linkNames{}}
	for _, part := range []struct {
		what string
		read func() error
	}{
		{"links", r.links}, {"parameters", r.parameters}, {"addresses", r.addresses}, {"next hops", r.nexthops}, {"rules", r.rules}, {"routes", r.routes},
		{"neighbours", r.neighbours},
	} {
		if err := part.read(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", part.what, err)
		}
	}
	return h, nil
}

type reader struct {
	host  *Host
	names linkNames
	ports []string // links in order, for their parameters
}

func (r *reader) add(s statement) { r.host.State = append(r.host.State, s.Statement) }

func (r *reader) links() error {
	list, err := rt.LinkList()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b rt.Link) int { return a.Attrs().Index - b.Attrs().Index })
	masters := map[int]string{}
	for _, l := range list {
		r.names[l.Attrs().Index] = l.Attrs().Name
		if l.Type() == "bridge" || l.Type() == "vrf" || l.Type() == "bond" {
			masters[l.Attrs().Index] = l.Attrs().Name
		}
	}
	list = inOrder(list)
	for _, l := range list {
		a := l.Attrs()
		if a.RawFlags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		r.ports = append(r.ports, a.Name)
		s := statement{Statement{Verb: "link"}}
		s.add("", a.Name)
		if k := linkKind(l); k != "" {
			s.add("kind", k)
		}
		for _, n := range a.AltNames {
			s.add("altname", n)
		}
		const usual = 1500
		if a.MTU != usual && a.MTU > 0 {
			s.add("mtu", a.MTU)
		}
		if m, ok := masters[a.MasterIndex]; ok {
			s.add("master", m)
		}
		if below := r.lower(l); below != "" {
			s.add("link", below)
		}
		if a.Group != 0 {
			s.add("group", a.Group)
		}
		switch {
		case a.RawFlags&unix.IFF_UP == 0:
			s.flag("down")
		case a.RawFlags&unix.IFF_RUNNING == 0:
			s.flag("nocarrier")
		}
		r.add(s)
	}
	return nil
}

// inOrder sorts links, so that a link comes after its master and after the links below
// it.
func inOrder(list []rt.Link) []rt.Link {
	out := make([]rt.Link, 0, len(list))
	done := map[int]bool{}
	var add func(index, depth int)
	add = func(index, depth int) {
		const most = 64 // the kernel permits far fewer layers
		i := slices.IndexFunc(list, func(l rt.Link) bool { return l.Attrs().Index == index })
		if i < 0 || done[index] || depth > most {
			return
		}
		a := list[i].Attrs()
		add(a.MasterIndex, depth+1)
		if stands(list[i]) {
			add(a.ParentIndex, depth+1)
		}
		if !done[index] {
			done[index] = true
			out = append(out, list[i])
		}
	}
	for _, l := range list {
		add(l.Attrs().Index, 0)
	}
	return out
}

// stands tells whether a link sends its frames by another link of this namespace
// (IFLA_LINK). For veth, IFLA_LINK is the other end instead. For tunnels it is the link
// that their own packets should use.
func stands(l rt.Link) bool {
	a := l.Attrs()
	return a.ParentIndex != 0 && a.NetNsID < 0 && slices.Contains(stacked, l.Type())
}

// stacked are the kinds of links that have one other link below them.
var stacked = []string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec", "rmnet"}

// lower returns the name of the link below another; "" if there is none.
func (r *reader) lower(l rt.Link) string {
	if !stands(l) {
		return ""
	}
	return r.names[l.Attrs().ParentIndex]
}

// linkKind returns the kernel's kind of a link; "" for hardware.
func linkKind(l rt.Link) string {
	if t, ok := l.(*rt.Tuntap); ok {
		if t.Mode == rt.TUNTAP_MODE_TAP {
			return "tap"
		}
		return "tun"
	}
	if k := l.Type(); k != "device" && check(word, k) == nil {
		return k
	}
	return ""
}

// parameters reads the sysctls that decide where packets go or which packets are
// accepted.
func (r *reader) parameters() error {
	type parameter struct{ key, usual string }
	list := []parameter{
		{"net.ipv4.nexthop_compat_mode", "1"}, {"net.ipv4.conf.all.rp_filter", "0"}, {"net.ipv4.conf.all.src_valid_mark", "0"},
		{"net.ipv4.conf.all.ignore_routes_with_linkdown", "0"}, {"net.ipv6.conf.all.ignore_routes_with_linkdown", "0"},
		{"net.ipv4.fib_multipath_hash_policy", "0"}, {"net.ipv6.fib_multipath_hash_policy", "0"}, {"net.ipv4.fib_multipath_use_neigh", "0"},
		{"net.ipv4.ip_nonlocal_bind", "0"}, {"net.ipv6.ip_nonlocal_bind", "0"}, {"net.mptcp.enabled", "1"},
	}
	for _, name := range r.ports {
		dotted := strings.ReplaceAll(name, ".", "/")
		for _, key := range []string{"rp_filter", "ignore_routes_with_linkdown", "src_valid_mark", "accept_local", "route_localnet"} {
			list = append(list, parameter{"net.ipv4.conf." + dotted + "." + key, "0"})
		}
		for _, key := range []string{"disable_ipv6", "ignore_routes_with_linkdown", "use_oif_addrs_only"} {
			list = append(list, parameter{"net.ipv6.conf." + dotted + "." + key, "0"})
		}
	}
	for _, p := range list {
		path, _, err := sysctl(p.key + " = 0")
		if err != nil {
			continue // sysctl(8) could not write such a name either
		}
		b, err := os.ReadFile("/proc/sys/" + path)
		if err != nil {
			continue // the kernel lacks it
		}
		if v := strings.TrimSpace(string(b)); v != p.usual && check(word, v) == nil {
			s := statement{Statement{Verb: "sysctl"}}
			s.add("", p.key+" = "+v)
			r.add(s)
		}
	}
	return nil
}

func (r *reader) addresses() error {
	metrics, err := addressMetrics()
	if err != nil {
		return err
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := rt.AddrList(nil, family)
		if err != nil {
			return err
		}
		slices.SortStableFunc(list, func(a, b rt.Addr) int {
			return slices.Index(r.ports, r.names[a.LinkIndex]) - slices.Index(r.ports, r.names[b.LinkIndex])
		})
		for i := range list {
			if s, ok := r.address(&list[i], metrics); ok {
				r.add(s)
			}
		}
	}
	return nil
}

// ownAddress identifies an address of an interface like the kernel does.
type ownAddress struct {
	index  int
	prefix netip.Prefix
}

// addressMetrics returns the metrics of the routes to the addresses' networks
// (IFA_RT_PRIORITY), if they are not the usual ones.
func addressMetrics() (map[ownAddress]uint32, error) {
	const length = 8 // of struct ifaddrmsg
	all := map[ownAddress]uint32{}
	err := dump(unix.RTM_GETADDR, make([]byte, length), func(b []byte) error {
		if len(b) < length {
			return errShort
		}
		d, err := netlink.NewAttributeDecoder(b[length:])
		if err != nil {
			return err
		}
		var address, local netip.Addr
		metric := uint32(0)
		for d.Next() {
			switch d.Type() {
			case unix.IFA_ADDRESS:
				address, _ = netip.AddrFromSlice(d.Bytes())
			case unix.IFA_LOCAL:
				local, _ = netip.AddrFromSlice(d.Bytes())
			case unix.IFA_RT_PRIORITY:
				metric = d.Uint32()
			}
		}
		if !local.IsValid() {
			local = address
		}
		if metric != 0 && local.IsValid() {
			all[ownAddress{int(hostUint32(b[4:])), netip.PrefixFrom(local, int(b[1]))}] = metric
		}
		return d.Err()
	})
	return all, err
}

func (r *reader) address(a *rt.Addr, metrics map[ownAddress]uint32) (statement, bool) {
	s := statement{Statement{Verb: "addr"}}
	addr, ok := netip.AddrFromSlice(a.IP)
	addr = addr.Unmap()
	bits, _ := a.Mask.Size()
	if _, known := r.names[a.LinkIndex]; !ok || !known || addr.IsLoopback() {
		return s, false
	}
	s.add("", netip.PrefixFrom(addr, bits))
	if a.Peer != nil && !a.Peer.IP.Equal(a.IP) {
		peer, _ := netip.AddrFromSlice(a.Peer.IP)
		n, _ := a.Peer.Mask.Size()
		s.Args[0].Value = addr.String()
		s.add("peer", netip.PrefixFrom(peer.Unmap(), n))
	}
	s.add("dev", r.names[a.LinkIndex])
	if m := metrics[ownAddress{a.LinkIndex, netip.PrefixFrom(addr, bits)}]; m != 0 {
		s.add("metric", m)
	}
	if addr.Is4() && a.Scope != unix.RT_SCOPE_UNIVERSE {
		s.add("scope", scopeName(a.Scope))
	}
	for _, f := range []struct {
		bit int
		key string
	}{
		{unix.IFA_F_NOPREFIXROUTE, "noprefixroute"}, {unix.IFA_F_MANAGETEMPADDR, "mngtmpaddr"}, {unix.IFA_F_DADFAILED, "dadfailed"},
		{unix.IFA_F_TENTATIVE, "tentative"}, {unix.IFA_F_HOMEADDRESS, "home"}, {unix.IFA_F_NODAD, "nodad"}, {unix.IFA_F_OPTIMISTIC, "optimistic"},
	} {
		if a.Flags&f.bit != 0 {
			s.flag(f.key)
		}
	}
	if a.Flags&unix.IFA_F_TEMPORARY != 0 && addr.Is6() {
		s.flag("temporary")
	}
	const forever = 1<<32 - 1
	switch {
	case a.ValidLft > 0 && a.ValidLft < forever:
		s.add("valid_lft", a.ValidLft)
		s.add("preferred_lft", a.PreferedLft)
	case a.Flags&unix.IFA_F_DEPRECATED != 0:
		s.add("valid_lft", "forever")
		s.add("preferred_lft", 0)
	}
	return s, true
}

// dump sends a request for a dump, and passes on the payload of each answer.
func dump(command netlink.HeaderType, payload []byte, each func([]byte) error) error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := widen(c); err != nil {
		return err
	}
	messages, err := c.Execute(netlink.Message{Header: netlink.Header{Type: command, Flags: netlink.Request | netlink.Dump}, Data: payload})
	if err != nil {
		return err
	}
	for _, m := range messages {
		if err := each(m.Data); err != nil {
			return err
		}
	}
	return nil
}

// widen makes the kernel send dumps in parts of up to 32 kB. They are as large as the largest
// buffer that the socket was read with, and a page if it never was. A route that does not fit
// into a part, because it has hundreds of next hops, ends the dump without an error.
func widen(c *netlink.Conn) error {
	const size = 32 << 10
	if _, err := c.Send(netlink.Message{Header: netlink.Header{Type: netlink.Noop, Flags: netlink.Request | netlink.Acknowledge}}); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		_, _, failed = unix.Recvfrom(int(fd), make([]byte, size), unix.MSG_DONTWAIT)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})
	return cmp.Or(err, failed)
}

func (r *reader) nexthops() error {
	var groups []Statement // after their members
	err := dump(unix.RTM_GETNEXTHOP, make([]byte, nhHeaderLen), func(b []byte) error {
		s, ok, err := decodeNexthop(b, r.names)
		switch {
		case !ok || err != nil:
			return err
		case s.Has("group"):
			groups = append(groups, *s)
		default:
			r.host.State = append(r.host.State, *s)
		}
		return nil
	})
	r.host.State = append(r.host.State, groups...)
	return err
}

// kernelRules are the rules that every host has at first.
var kernelRules = map[string][]string{
	"rule":  {"0 from all lookup local", "32766 from all lookup main", "32767 from all lookup default"},
	"rule6": {"0 from all lookup local", "32766 from all lookup main"},
}

func (r *reader) rules() error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		verb := "rule"
		if family == unix.AF_INET6 {
			verb = "rule6"
		}
		missing := slices.Clone(kernelRules[verb])
		var rules []Statement
		err := dump(unix.RTM_GETRULE, append([]byte{family}, make([]byte, headerLen-1)...), func(b []byte) error {
			s, ok, err := decodeRule(b)
			if !ok || err != nil {
				return err
			}
			if i := slices.Index(missing, s.Words()); i >= 0 {
				missing = slices.Delete(missing, i, i+1)
				return nil
			}
			rules = append(rules, *s)
			return nil
		})
		if err != nil {
			return err
		}
		for _, m := range missing {
			s := statement{Statement{Verb: "no" + verb}}
			s.add("", strings.Fields(m)[0])
			r.add(s)
		}
		r.host.State = append(r.host.State, rules...)
	}
	return nil
}

func (r *reader) routes() error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		err := dump(unix.RTM_GETROUTE, append([]byte{family}, make([]byte, headerLen-1)...), func(b []byte) error {
			s, ok, err := decodeRoute(b, r.names)
			if ok && err == nil {
				r.host.State = append(r.host.State, *s)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	r.withoutRoutes()
	return nil
}

// withoutRoutes marks addresses whose network has no route of the kernel's. The reason
// does not matter: adding the address would make the route.
func (r *reader) withoutRoutes() {
	have := map[string]bool{}
	for i := range r.host.State {
		s := &r.host.State[i]
		if s.Object() == "route" && s.Value("proto") == "kernel" && !s.Has("table") {
			have[s.Args[0].Value+"%"+s.Value("dev")+" "+usualMetric(s.Value("metric"), s.IPv6())] = true
		}
	}
	for i := range r.host.State {
		s := &r.host.State[i]
		if s.Verb != "addr" || s.Has("noprefixroute") {
			continue
		}
		n := s.Args[0].Value
		if peer, ok := s.Get("peer"); ok {
			n = peer
		}
		p, err := parsePrefix(n)
		if err != nil || p.Addr().IsLinkLocalUnicast() || p.IsSingleIP() && !s.Has("peer") || have[shown(p.Masked())+"%"+s.Value("dev")+" "+usualMetric(s.Value("metric"), p.Addr().Is6())] {
			continue
		}
		dev := slices.IndexFunc(s.Args, func(a Arg) bool { return a.Key == "dev" })
		s.Args = slices.Insert(s.Args, dev+1, Arg{Key: "noprefixroute"})
	}
}

// usualMetric returns a metric, or the one that the kernel gives to the routes of
// addresses if there is none.
func usualMetric(metric string, ipv6 bool) string {
	const usual6 = "256" // IP6_RT_PRIO_ADDRCONF
	if metric == "" && ipv6 {
		return usual6
	}
	return metric
}

// neighbours reads the gateways that have failed.
func (r *reader) neighbours() error {
	gateways := map[string]bool{}
	for i := range r.host.State {
		for _, a := range r.host.State[i].Args {
			if a.Key == "via" {
				gateways[a.Value[strings.LastIndexByte(a.Value, ' ')+1:]] = true
			}
		}
	}
	list, err := rt.NeighList(0, 0)
	if err != nil {
		return err
	}
	for _, n := range list {
		name, known := r.names[n.LinkIndex]
		a, _ := netip.AddrFromSlice(n.IP)
		if a = a.Unmap(); known && n.State&unix.NUD_FAILED != 0 && gateways[a.String()] {
			s := statement{Statement{Verb: "neigh"}}
			s.add("", a)
			s.add("dev", name)
			s.add("nud", "failed")
			r.add(s)
		}
	}
	return nil
}
