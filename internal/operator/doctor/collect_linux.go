package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/probe"
	"github.com/socket-intents/mamma/internal/network/resolve"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/internal/selection"
	"github.com/socket-intents/mamma/policy"
)

// Options are the settings of Collect. The zero value examines the host of this
// process.
type Options struct {
	// PID is the daemon's process, whose capabilities count; 0: this process.
	PID int
	// Run is the directory of run-time files; "": /run.
	Run string
	// Bus is the socket of the bus on which services tell about the host's networks;
	// "": the one in the configuration.
	Bus string

	// The fields below select another network namespace than the process's own.

	Namespace int // descriptor
	Dial      func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)
	ReadFile  func(path string) ([]byte, error)

	// LinkKind is netmon.Options.Kind; nil outside of tests.
	LinkKind func(name, kernel string) string

	// Asked counts the questions, to show the progress. It may be nil.
	Asked *Asked
}

// Asked counts questions to gateways and name servers while they run.
type Asked struct {
	All  atomic.Int64 // questions begun
	Done atomic.Int64 // questions answered or given up
}

// question counts f as a question.
func (a *Asked) question(f func()) func() error {
	if a != nil {
		a.All.Add(1)
	}
	return func() error {
		f()
		if a != nil {
			a.Done.Add(1)
		}
		return nil
	}
}

// askTime bounds each question to a gateway. Neighbours answer within milliseconds. The
// kernel gives up looking for a neighbour after three seconds (retrans_time_ms,
// ucast_solicit and mcast_solicit).
const askTime = 3500 * time.Millisecond

// busTime bounds the questions to the services on the bus, which answer within milliseconds.
const busTime = 2 * time.Second

// heard returns what services say about the host's networks; nil if none should be
// asked.
func (o *Options) heard(ctx context.Context, cfg *config.Config) *hostfacts.Facts {
	path := cmp.Or(o.Bus, cfg.SystemBus, systembus.Path())
	if path == config.Off {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	facts, _ := hostfacts.Read(ctx, path) // without a bus nothing is known
	return facts
}

// splits returns the domains whose names are looked up at an interface's own servers.
func splits(cfg *config.Config, nets *netmon.Snapshot, facts *hostfacts.Facts) (list []Split) {
	for _, r := range facts.Routes(nets) {
		s := Split{Domain: r.Domain.Name, Interface: r.Interface, Servers: resolve.LinkOnly(r.Servers, r.Interface), Source: r.Source, TLS: r.TLS, Off: cfg.Original}
		for _, p := range nets.Prefixes() {
			l, _ := nets.Link(p.Index)
			if p.Index == r.Index {
				set := cfg.Settings(p.Interface, p.Prefix, l.AltNames...)
				s.Off = s.Off || set.LinkDNS != nil && !*set.LinkDNS
			}
		}
		if len(s.Servers) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// Collect gathers the facts about the networks that cfg selects. It asks gateways and
// name servers, all at the same time, and sends nothing else.
func Collect(ctx context.Context, cfg *config.Config, o Options) (Facts, error) {
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	m, err := netmon.New(netmon.Options{
		Namespace: o.Namespace, Kind: o.LinkKind, Everywhere: oracle.EverywhereOf(cfg.FarAway), Routes: true,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return Facts{}, fmt.Errorf("read the host's networks: %w", err)
	}
	defer m.Close()
	nets := m.Snapshot()
	heard := o.heard(ctx, cfg)
	f := Facts{
		Splits: splits(cfg, nets, heard),
		Policy: cfg.Policy.Name, ManageRouting: cfg.Routing == config.RoutingManage, MayRoute: o.mayRoute(),
		BindDevice: cfg.BindDevice != config.BindNever && cfg.Routing != config.RoutingManage,
		MPTCP:      o.mptcp(),
	}
	if f.Table, err = freeTable(m.Kernel(), nets); err != nil {
		return Facts{}, err
	}
	r, err := newRuler(o.Namespace, oracle.EverywhereOf(cfg.FarAway))
	if err != nil {
		return Facts{}, err
	}
	defer r.close()
	var refusing []oracle.Route
	for i, v6 := range []bool{false, true} {
		list, err := m.Kernel().Refusing(v6)
		if err != nil {
			return Facts{}, err
		}
		refusing = append(refusing, list...)
		if l, ok := nets.DefaultEgress(v6); ok {
			f.Unbound[i] = l.Name
		}
		if f.Metrics[i], f.Refusing[i], err = m.Kernel().Metrics(v6); err != nil {
			return Facts{}, err
		}
	}
	managed := map[policy.PrefixID]bool{}
	var chosen []netmon.Prefix
	refusals := refusalsOf(selection.Select(cfg, nets), nets)
	for _, n := range selection.Select(cfg, nets) {
		p := o.prefix(&n.Prefix, nets)
		if p.Far && !n.Refused.Refused() {
			at, err := r.place(&n.Prefix)
			if err != nil {
				return Facts{}, err
			}
			p.Priority, p.Suppress, p.Foreign, p.Aside = at.priority, at.suppress, at.foreign(), at.aside(nets)
			if p.Foreign.Words != "" {
				p.Past = r.past(at.before)
			}
			if p.Remote, err = r.remote(&n.Prefix); err != nil {
				return Facts{}, err
			}
			chosen = append(chosen, n.Prefix)
		}
		if all := nets.Pieces(p.Addr.Is6()); all.Index != 0 && all.Index != n.Index && all.Table == netmon.TableMain {
			p.Suppress = max(p.Suppress, all.Longest())
			p.Mixed = slices.ContainsFunc(all.Others, func(o oracle.Slot) bool { return o.Prefix != n.Prefix.Prefix })
		}
		p.ManagedAt, p.Managed = routing.Ruled(&n.Prefix, nets)
		if b, ok := routing.BarrierOf(&n.Prefix, nets, refusing); ok {
			p.Barrier, p.BarrierTable = foreignOf(&b.Rule), b.Table
		}
		for _, r := range refusals[p.ID] {
			switch {
			case r.Whole:
				p.Forbidden = foreignOf(&r.Rule)
			case r.Leads:
				p.Passed = append(p.Passed, laterOf(&r, n.Prefix.Prefix))
			default:
				p.Undone = append(p.Undone, laterOf(&r, n.Prefix.Prefix))
			}
		}
		for _, s := range o.servers(cfg, &n, heard) {
			p.Servers = append(p.Servers, Server{Addr: s})
		}
		managed[p.ID] = true
		f.Prefixes = append(f.Prefixes, p)
	}
	for _, p := range nets.Prefixes() {
		id := policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}
		if p.Refused.Refused() && (managed[id] || leadsFar(&p, nets)) {
			f.Refused = append(f.Refused, o.prefix(&p, nets))
		}
		if l, ok := nets.Link(p.Led); ok {
			f.Led = append(f.Led, Led{Prefix: o.prefix(&p, nets), Into: l.Name})
		} else if err := o.ledAddrs(&f, &p, nets, r); err != nil {
			return Facts{}, err
		}
		if !managed[id] && p.Scope == netmon.ScopeGlobal && !p.Loopback && reachesNeighbours(&p, nets) {
			f.Others = append(f.Others, id)
		}
	}
	for _, b := range selection.Unmatched(cfg, nets) {
		name := fmt.Sprintf("prefix %q", b.Written)
		if !b.Prefix.IsValid() {
			name = fmt.Sprintf("interface %q", b.Interface)
		}
		block := Block{Name: name, At: fmt.Sprintf("%s:%d", cfg.File, b.Pos.Line)}
		if l, ok := nets.LinkByName(b.Interface); ok && !l.Up {
			block.Off, block.Manager = l.Name, o.manager(l.Index, l.Name)
		}
		f.Unmatched = append(f.Unmatched, block)
	}
	if f.Marks, f.Users, err = r.diversions(chosen); err != nil {
		return Facts{}, err
	}
	if len(f.Marks) > 0 {
		f.Markers, f.MarkersKnown = o.markers()
	}
	if f.BindDevice && len(f.Prefixes) > 0 {
		f.DeviceError = o.tryDevice(f.Prefixes[0].ID.Interface)
	}
	var g errgroup.Group
	for i := range f.Prefixes {
		p := &f.Prefixes[i]
		if !p.Link {
			continue
		}
		g.Go(o.Asked.question(func() { o.askGateway(ctx, p, nets) }))
		for j := range p.Servers {
			g.Go(o.Asked.question(func() { o.askServer(ctx, p, &p.Servers[j]) }))
		}
	}
	_ = g.Wait() // a failed question is a fact, too
	return f, ctx.Err()
}

// leadsFar tells whether a route leads to everywhere by a prefix's interface, whatever comes
// before it. A network without one is not meant to be a way out.
func leadsFar(p *netmon.Prefix, nets *netmon.Snapshot) bool {
	return slices.ContainsFunc(nets.Routes(), func(r oracle.Route) bool {
		return r.Leads() && r.Wide() && r.Prefix.Addr().Is6() == p.Addrs[0].Is6() && r.Serves(p.Addrs[0]) && slices.Contains(r.Devices(), p.Index)
	})
}

// reachesNeighbours tells whether table main leads to a prefix's neighbours by its interface. It
// does not where somebody keeps another interface with that network for certain sources, as
// container platforms do.
func reachesNeighbours(p *netmon.Prefix, nets *netmon.Snapshot) bool {
	return slices.ContainsFunc(nets.Routes(), func(r oracle.Route) bool {
		return r.Table == netmon.TableMain && r.Near() && r.Prefix == p.Prefix && slices.Contains(r.Devices(), p.Index)
	})
}

// ledAddrs adds those addresses of a prefix that rules lead into a VPN. The first
// address is handled elsewhere.
func (o *Options) ledAddrs(f *Facts, p *netmon.Prefix, nets *netmon.Snapshot, r *ruler) error {
	for _, a := range p.Addrs[1:] {
		if !slices.ContainsFunc(r.rules, func(x oracle.Rule) bool { return x.Source.IsValid() && x.Source.Contains(a) && !routing.Ours(&x) }) {
			continue // it goes where the first one goes
		}
		w, err := r.everywhere.Far(r.kernel, a.Is6(), oracle.Question{Src: a})
		if err != nil {
			return err
		}
		if !nets.IntoVPN(p, &w) {
			continue
		}
		l, _ := nets.Link(w.Index)
		led := Led{Prefix: o.prefix(p, nets), Into: l.Name, Other: true}
		led.Addr = a
		f.Led = append(f.Led, led)
	}
	return nil
}

// refusalsOf returns the rules that refuse something and would come after mamma's.
func refusalsOf(list []selection.Network, nets *netmon.Snapshot) map[policy.PrefixID][]routing.Refusal {
	var ids []policy.PrefixID
	for i := range list {
		ids = append(ids, policy.PrefixID{Interface: list[i].Interface, Prefix: list[i].Prefix.Prefix})
	}
	all := map[policy.PrefixID][]routing.Refusal{}
	for _, r := range routing.Refusals(ids, nets) {
		all[r.Prefix] = append(all[r.Prefix], r)
	}
	return all
}

func (o *Options) prefix(p *netmon.Prefix, nets *netmon.Snapshot) Prefix {
	out := Prefix{
		ID: policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}, Addr: p.Addrs[0], Link: p.Running,
		Far: p.Scope == netmon.ScopeGlobal && !p.Loopback && !p.OwnLink, Default: p.HasDefault, Hidden: p.Hidden, Gateway: p.Gateway, Metric: p.Metric,
		FarAway: oracle.Destinations().V4[0], ReversePath: -1,
	}
	if out.Addr.Is6() {
		out.FarAway = oracle.Destinations().V6[0]
	} else {
		out.ReversePath = o.reversePath(p.Interface)
	}
	if l, ok := nets.Link(p.Egress); ok {
		out.Egress = l.Name
	} else {
		out.Shared = nets.Default(out.Addr.Is6()).Shared
	}
	out.Ruled, out.Twin, out.Lent, out.Manager = p.Ruled, p.Twin, p.Lent, o.manager(p.Index, p.Interface)
	if p.Refused.Refused() {
		out.Refused = p.Refused.String()
	}
	return out
}

// servers returns the name servers of a prefix that can be asked from its address.
func (o *Options) servers(cfg *config.Config, n *selection.Network, heard *hostfacts.Facts) []netip.AddrPort {
	s := &n.Settings
	list := slices.Clone(s.Nameservers)
	switch {
	case s.ResolvConf != "":
		r := resolve.New(resolve.Config{Servers: s.Nameservers, ResolvConf: s.ResolvConf}, nil)
		list = slices.Clone(r.Servers())
		_ = r.Close()
	case len(list) == 0 && !cfg.Original && (s.LinkDNS == nil || *s.LinkDNS):
		if d := heard.DNS(n.Index); len(d.Servers) == 0 {
			list = resolve.LinkServers(o.Run, n.Interface, n.Index)
		} else if d.DefaultRoute && !d.TLS {
			list = resolve.LinkOnly(d.Servers, n.Interface)
		}
	}
	a := n.Addrs[0]
	return slices.DeleteFunc(list, func(s netip.AddrPort) bool {
		return s.Addr().Is4() != a.Is4() || s.Addr().IsLoopback() != a.IsLoopback()
	})
}

func (o *Options) via(p *Prefix) probe.Via {
	v := probe.Via{Source: p.Addr, Dial: o.Dial}
	// This is what mamma does: with a bound device, the kernel skips rules that refuse.
	if p.Far && p.Egress != p.ID.Interface {
		v.Device = p.ID.Interface
	}
	return v
}

func (o *Options) askServer(ctx context.Context, p *Prefix, s *Server) {
	if err := probe.DNS(ctx, o.via(p), []netip.AddrPort{s.Addr}); err != nil {
		s.Error = reason(err)
	}
}

// askGateway tests whether a gateway answers. First it sends a datagram, which shows
// whether a packet filter of this host lets packets out. Then it connects to the port
// that gateways serve most often. A gateway that refuses the connection has answered,
// too.
func (o *Options) askGateway(ctx context.Context, p *Prefix, nets *netmon.Snapshot) {
	if !p.Gateway.IsValid() || p.Gateway.Is4() != p.Addr.Is4() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	to, v := p.Gateway, o.via(p)
	if to.IsLinkLocalUnicast() {
		// From a global address, the gateway's answer would have to be routed.
		to = to.WithZone(p.ID.Interface)
		own := slices.IndexFunc(nets.Prefixes(), func(q netmon.Prefix) bool {
			return q.Interface == p.ID.Interface && q.Prefix.Addr().Is6() && q.Scope == netmon.ScopeLink
		})
		if own < 0 {
			return
		}
		v.Source = nets.Prefixes()[own].Addrs[0].WithZone(p.ID.Interface)
	}
	const dnsPort = 53
	at := netip.AddrPortFrom(to, dnsPort)
	err := probe.Datagram(ctx, v, at)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		err = probe.TCP(ctx, v, at)
	}
	switch {
	case err == nil, errors.Is(err, unix.EHOSTUNREACH) && o.neighbour(p.ID.Interface, p.Gateway, nets):
		p.GatewayState = GatewayAnswers
		return
	case errors.Is(err, unix.EHOSTUNREACH):
		p.GatewayState = GatewayUnreachable
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EINVAL):
		p.GatewayState = GatewayFiltered
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		p.GatewayState = GatewaySilent
	default:
		return
	}
	p.GatewayError = reason(err)
}

// neighbour tells whether the link-layer address of a gateway is known. If so, the
// gateway itself has refused, by an ICMP message as firewalls send (RFC 1122, section
// 3.2.2.1). This must be asked because the kernel returns the same error for a
// neighbour that it does not find.
func (o *Options) neighbour(iface string, gateway netip.Addr, nets *netmon.Snapshot) bool {
	l, ok := nets.LinkByName(iface)
	if !ok {
		return false
	}
	ns := netns.None()
	if o.Namespace != 0 {
		ns = netns.NsHandle(o.Namespace)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer h.Close()
	list, err := h.NeighList(l.Index, netlink.FAMILY_ALL)
	return err == nil && slices.ContainsFunc(list, func(n netlink.Neigh) bool {
		a, _ := netip.AddrFromSlice(n.IP)
		const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT | unix.NUD_NOARP
		return a.Unmap() == gateway.WithZone("") && n.State&known != 0
	})
}

// reason returns the end of an error's text, without the addresses, which are shown
// elsewhere.
func reason(err error) string {
	var e *net.OpError
	if errors.As(err, &e) {
		if e.Timeout() {
			return "no answer in time"
		}
		return e.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// reversePath returns the effective rp_filter of an interface: the larger one of its
// own value and of that for all interfaces (ip-sysctl in the kernel's documentation).
func (o *Options) reversePath(iface string) int {
	largest := -1
	for _, name := range []string{"all", iface} {
		if n, ok := o.number("net/ipv4/conf/" + name + "/rp_filter"); ok {
			largest = max(largest, n)
		}
	}
	return largest
}

func (o *Options) mptcp() Switch {
	n, ok := o.number("net/mptcp/enabled")
	switch {
	case !ok:
		return Missing
	case n == 0:
		return Off
	}
	return On
}

func (o *Options) number(name string) (int, bool) {
	b, err := o.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}

// mayRoute tells whether CAP_NET_ADMIN is among the effective capabilities.
func (o *Options) mayRoute() bool {
	who := "self"
	if o.PID > 0 {
		who = strconv.Itoa(o.PID)
	}
	b, err := os.ReadFile("/proc/" + who + "/status")
	if err != nil {
		return true // unknown, and nothing speaks against it
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return err != nil || n&(1<<unix.CAP_NET_ADMIN) != 0
		}
	}
	return true
}

// tryDevice returns why this process cannot bind a socket to an interface; "" if it
// can.
func (o *Options) tryDevice(iface string) string {
	if o.Dial != nil {
		return "" // the interface is in another namespace
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.BindToDevice(fd, iface); errors.Is(err, unix.EPERM) {
		return err.Error()
	}
	return ""
}

// freeTable returns a routing table to propose: it has no routes, and no rule leads to
// it.
func freeTable(k *oracle.Kernel, nets *netmon.Snapshot) (int, error) {
	for n := 101; ; n++ {
		free, err := k.FreeTable(n)
		if err != nil {
			return 0, err
		}
		if n = free; !slices.ContainsFunc(nets.Rules(), func(r netmon.Rule) bool { return r.Table == n }) {
			return n, nil
		}
	}
}
