package routing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/netmon"
)

// ErrCapability means that the process may not change routes.
var ErrCapability = errors.New("changing routes takes CAP_NET_ADMIN: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN")

// Kernel changes the routing tables and rules of a namespace. It is not safe for
// concurrent use.
type Kernel struct {
	log    *slog.Logger
	handle *netlink.Handle
	wrote  func() // for tests: called after each change; may be nil
}

// Open opens the namespace with the descriptor, 0 for that of the calling
// thread. Close does not remove what was added; Apply an empty Plan for that.
func Open(namespace int, log *slog.Logger) (*Kernel, error) {
	ns := netns.None()
	if namespace != 0 {
		ns = netns.NsHandle(namespace)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	if err := h.SetSocketTimeout(2 * time.Second); err != nil {
		h.Close()
		return nil, fmt.Errorf("setting the rtnetlink timeout: %w", err)
	}
	return &Kernel{log: log, handle: h}, nil
}

// Close releases what Open acquired.
func (k *Kernel) Close() { k.handle.Close() }

// Capable tells whether this process may change routes.
func Capable() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// Apply makes the kernel have exactly what plan says of what carries our
// protocol number: it adds what is missing, then removes what is too much, and
// writes nothing else. It tells how many changes were made. It goes on after errors,
// which are joined; one that wraps ErrCapability means that nothing can be changed.
//
// When ctx ends it gives up after the change that is under way, with ctx's cause.
// What was done by then stays, so that the next Apply goes on from there.
func (k *Kernel) Apply(ctx context.Context, plan Plan) (changes int, err error) {
	routes, err := k.routes()
	if err != nil {
		return 0, err
	}
	rules, err := k.rules()
	if err != nil {
		return 0, err
	}
	hasRoute, hasRule := setOf(routes), setOf(rules)
	wantRoute, wantRule := map[Route]bool{}, setOf(plan.Rules)
	for _, r := range plan.Routes {
		wantRoute[r.read()] = true
	}
	p := pass{ctx: ctx, kernel: k}
	for _, r := range plan.Routes {
		if !hasRoute[r.read()] {
			// Replacing leaves no moment without, when a gateway changes.
			p.do("adding route", r, func() error { return k.handle.RouteReplace(r.encode()) }, unix.EEXIST)
		}
	}
	for _, r := range plan.Rules {
		if !hasRule[r] {
			p.do("adding rule", r, func() error { return k.handle.RuleAdd(r.encode()) }, unix.EEXIST)
		}
	}
	for _, r := range rules {
		if !wantRule[r] {
			p.do("removing rule", r, func() error { return k.handle.RuleDel(r.encode()) }, unix.ENOENT)
		}
	}
	for _, r := range routes {
		if !wantRoute[r] {
			p.do("removing route", r, func() error { return k.handle.RouteDel(r.encode()) }, unix.ESRCH, unix.ENODEV)
		}
	}
	if p.changes > 0 {
		k.log.Info("routing changed", "changes", p.changes, "rules", len(plan.Rules), "routes", len(plan.Routes))
	}
	return p.changes, errors.Join(p.errs...)
}

func setOf[T comparable](list []T) map[T]bool {
	set := make(map[T]bool, len(list))
	for _, v := range list {
		set[v] = true
	}
	return set
}

// maxErrors bounds what a pass tells of: one reason often stops all changes.
const maxErrors = 8

// pass is an Apply under way.
type pass struct {
	ctx     context.Context
	kernel  *Kernel
	changes int
	failed  int
	errs    []error
	over    bool // ctx has ended
}

// do makes a change, unless the pass is over.
func (p *pass) do(what string, v any, change func() error, harmless ...error) {
	if p.over {
		return
	}
	if p.ctx.Err() != nil {
		p.over = true
		p.errs = append(p.errs, context.Cause(p.ctx))
		return
	}
	err := change()
	switch {
	case err == nil:
		p.changes++
		if p.kernel.wrote != nil {
			p.kernel.wrote()
		}
	case slices.ContainsFunc(harmless, func(h error) bool { return errors.Is(err, h) }):
	case p.failed >= maxErrors:
	default:
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w: %w", ErrCapability, err)
		}
		p.failed++
		p.errs = append(p.errs, fmt.Errorf("%s %+v: %w", what, v, err))
	}
}

// read is the route as the kernel gives it back: it drops the on-link flag
// where it is not needed, and IPv6 turns metric 0 into its default.
func (r Route) read() Route {
	r.OnLink = false
	if r.Prefix.Addr().Is6() && r.Metric == 0 {
		r.Metric = defaultMetric6
	}
	return r
}

// defaultMetric6 is IP6_RT_PRIO_USER of linux/ipv6_route.h.
const defaultMetric6 = 1024

func (r Route) encode() *netlink.Route {
	out := &netlink.Route{
		Table: r.Table, LinkIndex: r.Index, Dst: ipNet(r.Prefix), Priority: r.Metric, Protocol: Protocol,
		Family: family(r.Prefix.Addr()),
	}
	switch {
	case !r.Gateway.IsValid():
		out.Scope = netlink.SCOPE_LINK
		if r.Prefix.Addr().Is6() {
			out.Scope = netlink.SCOPE_UNIVERSE
		}
	case r.Gateway.Is4() != r.Prefix.Addr().Is4(): // RFC 5549
		out.Via = &netlink.Via{AddrFamily: family(r.Gateway), Addr: r.Gateway.AsSlice()}
	default:
		out.Gw = r.Gateway.AsSlice()
	}
	r.Metrics.Set(out)
	if r.OnLink {
		out.SetFlag(netlink.FLAG_ONLINK)
	}
	return out
}

func (r Rule) encode() *netlink.Rule {
	out := netlink.NewRule()
	out.Family = family(r.Source)
	out.Priority, out.Table, out.SuppressPrefixlen, out.Protocol = r.Priority, r.Table, r.Suppress, Protocol
	out.Src = ipNet(netip.PrefixFrom(r.Source, r.Source.BitLen()))
	return out
}

// routes lists what there is of ours.
func (k *Kernel) routes() ([]Route, error) {
	// Asked strictly (Linux 4.20) the kernel itself picks what carries our protocol number
	// out of tables that may hold a million routes of others. The library's requests
	// about rules are not strict enough.
	if k.handle.SetStrictCheck(true) == nil {
		defer k.handle.SetStrictCheck(false) //nolint:errcheck // it could be switched on
	}
	var out []Route
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		err := k.handle.RouteListFilteredIter(f, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL, func(r netlink.Route) bool {
			if r.Table < FirstTable || r.Table > LastTable {
				return true // ours by number only
			}
			out = append(out, Route{
				Table: r.Table, Prefix: prefixOf(r.Dst, f), Index: r.LinkIndex, Gateway: gatewayOf(r), Metric: r.Priority, Metrics: netmon.MetricsOf(&r),
			})
			return true
		})
		// An interrupted dump lacks something at worst: the change that interrupted
		// it leads to another call.
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) && !unsupported(err) {
			return nil, fmt.Errorf("reading routes: %w", err)
		}
	}
	return out, nil
}

func (k *Kernel) rules() ([]Rule, error) {
	var out []Rule
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := k.handle.RuleList(f)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) && !unsupported(err) {
			return nil, fmt.Errorf("reading rules: %w", err)
		}
		for _, r := range list {
			if r.Protocol != Protocol || r.Src == nil || r.Priority != MainPriority && r.Priority != OwnPriority {
				continue
			}
			out = append(out, Rule{Priority: r.Priority, Source: prefixOf(r.Src, f).Addr(), Table: r.Table, Suppress: r.SuppressPrefixlen})
		}
	}
	return out, nil
}

// unsupported tells of a kernel without the family.
func unsupported(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)
}

func gatewayOf(r netlink.Route) netip.Addr {
	gw := r.Gw
	if v, ok := r.Via.(*netlink.Via); ok {
		gw = v.Addr
	}
	a, _ := netip.AddrFromSlice(gw) // invalid if there is none
	return a.Unmap()
}

// prefixOf converts; nil is the default route.
func prefixOf(n *net.IPNet, f int) netip.Prefix {
	zero := netip.IPv4Unspecified()
	if f == netlink.FAMILY_V6 {
		zero = netip.IPv6Unspecified()
	}
	if n == nil {
		return netip.PrefixFrom(zero, 0)
	}
	a, _ := netip.AddrFromSlice(n.IP)
	if f == netlink.FAMILY_V4 {
		a = a.Unmap() // the library's 0.0.0.0 has 16 bytes
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a, ones)
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
