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
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/network/resolve"
	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/process/systembus"
	"github.com/socket-intents/mamma/internal/selection"
	"github.com/socket-intents/mamma/policy"
)

// Options are the settings of Collect. The zero value examines the host of this
// process.
type Options struct {
	// PID is the daemon's process, whose capabilities count; 0: no daemon runs, so those of
	// this process count, which a daemon that is started like it would have.
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
		s := Split{Domain: r.Domain.Name, Interface: r.Interface, Servers: resolve.LinkOnly(r.Servers, r.Interface), Source: r.Source, TLS: r.TLS}
		if cfg.Original {
			s.Off = "the file is in the grammar of the original, which knew nothing of them"
		}
		for _, p := range nets.Prefixes() {
			l, _ := nets.Link(p.Index)
			if p.Index == r.Index {
				set := cfg.Settings(p.Interface, p.Prefix, l.AltNames...)
				if set.LinkDNS != nil && !*set.LinkDNS {
					s.Off = "the configuration forbids it (link_dns = false)"
				}
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
	r, err := newRuler(o.Namespace, oracle.EverywhereOf(cfg.FarAway), m.Snapshot().Turn())
	if err != nil {
		return Facts{}, err
	}
	defer r.close()
	c := &collection{o: &o, cfg: cfg, kernel: m.Kernel(), nets: m.Snapshot(), rules: r, heard: o.heard(ctx, cfg)}
	for _, step := range []func() error{c.tables, c.selected, c.others, c.diverted} {
		if err := step(); err != nil {
			return Facts{}, err
		}
	}
	c.settings()
	c.blocks()
	c.scopes()
	c.ask(ctx)
	return c.facts, ctx.Err()
}

// collection gathers facts of one state of the host.
type collection struct {
	o      *Options
	cfg    *config.Config
	kernel *oracle.Kernel
	nets   *netmon.Snapshot
	rules  *ruler
	heard  *hostfacts.Facts

	facts    Facts
	refusing []oracle.Route           // the routes to everywhere that refuse
	managed  map[policy.PrefixID]bool // the prefixes that the configuration selects
	far      []netmon.Prefix          // those of them that lead to everywhere and may be used
}

// settings gathers what the configuration and the kernel's switches say.
func (c *collection) settings() {
	f, cfg := &c.facts, c.cfg
	f.Splits = splits(cfg, c.nets, c.heard)
	f.Policy, f.ManageRouting, f.MayRoute = cfg.Policy.Name, cfg.Routing == config.RoutingManage, c.o.mayRoute()
	f.MPTCP = c.o.mptcp()
	f.BindDevice = cfg.BindDevice != config.BindNever && !f.ManageRouting
	if f.BindDevice && len(f.Prefixes) > 0 {
		f.DeviceError = c.o.tryDevice(f.Prefixes[0].ID.Interface)
	}
}

// tables gathers what the routing tables hold for unbound traffic, and what they have
// room for.
func (c *collection) tables() (err error) {
	f := &c.facts
	if f.Table, err = freeTable(c.kernel, c.nets); err != nil {
		return err
	}
	for i, v6 := range []bool{false, true} {
		list, err := c.kernel.Refusing(v6)
		if err != nil {
			return err
		}
		c.refusing = append(c.refusing, list...)
		if l, ok := c.nets.DefaultEgress(v6); ok {
			f.Unbound[i] = l.Name
		}
		if f.Metrics[i], f.Refusing[i], err = c.kernel.Metrics(v6); err != nil {
			return err
		}
	}
	return nil
}

// selected gathers the facts about each prefix that the configuration selects.
func (c *collection) selected() error {
	c.managed = map[policy.PrefixID]bool{}
	list := selection.Select(c.cfg, c.nets)
	refusals := refusalsOf(list, c.nets)
	for i := range list {
		n := &list[i]
		p := c.o.prefix(&n.Prefix, c.nets)
		if p.Far && !n.Refused.Refused() {
			if err := c.place(&p, &n.Prefix); err != nil {
				return err
			}
			c.far = append(c.far, n.Prefix)
		}
		c.pieces(&p, &n.Prefix)
		p.ManagedAt, p.Managed = routing.Ruled(&n.Prefix, c.nets)
		if b, ok := routing.BarrierOf(&n.Prefix, c.nets, c.refusing); ok {
			p.Barrier, p.BarrierTable = foreignOf(&b.Rule), b.Table
		}
		p.refusals(refusals[p.ID])
		for _, s := range c.o.servers(c.cfg, n, c.heard) {
			p.Servers = append(p.Servers, Server{Addr: s})
		}
		c.managed[p.ID] = true
		c.facts.Prefixes = append(c.facts.Prefixes, p)
	}
	return nil
}

// place finds out where rules for the prefix n would belong among those of the host, and
// whether its neighbours are reached.
func (c *collection) place(p *Prefix, n *netmon.Prefix) error {
	at, err := c.rules.place(n)
	if err != nil {
		return err
	}
	p.Priority, p.Suppress, p.Foreign, p.Aside = at.priority, at.suppress, at.foreign(), at.aside(c.nets)
	if p.Foreign.Words != "" {
		p.Past = c.rules.past(at.before)
	}
	p.Remote, err = c.rules.remote(n)
	return err
}

// pieces says which routes of table main must be ignored if another network has
// everywhere in pieces there.
func (c *collection) pieces(p *Prefix, n *netmon.Prefix) {
	all := c.nets.Pieces(p.Addr.Is6())
	if all.Index == 0 || all.Index == n.Index || all.Table != netmon.TableMain {
		return
	}
	p.Suppress = max(p.Suppress, all.Longest())
	p.Mixed = slices.ContainsFunc(all.Others, func(o oracle.Slot) bool { return o.Prefix != n.Prefix })
}

// refusals sorts the rules that refuse some of the prefix's packets, or lead them
// elsewhere, and would come after mamma's.
func (p *Prefix) refusals(list []routing.Refusal) {
	for i := range list {
		r := &list[i]
		switch {
		case r.Whole:
			p.Forbidden = foreignOf(&r.Rule)
		case r.Leads:
			p.Passed = append(p.Passed, laterOf(r, p.ID.Prefix))
		default:
			p.Undone = append(p.Undone, laterOf(r, p.ID.Prefix))
		}
	}
}

// others gathers the host's further prefixes: refused ones, those that rules lead into a
// VPN, and those that are not managed.
func (c *collection) others() error {
	f := &c.facts
	for _, p := range c.nets.Prefixes() {
		id := policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix}
		if p.Refused.Refused() && (c.managed[id] || leadsFar(&p, c.nets)) {
			f.Refused = append(f.Refused, c.o.prefix(&p, c.nets))
		}
		if l, ok := c.nets.Link(p.Led); ok {
			f.Led = append(f.Led, Led{Prefix: c.o.prefix(&p, c.nets), Into: l.Name})
		} else if err := c.ledAddrs(&p); err != nil {
			return err
		}
		if !c.managed[id] && p.Scope == netmon.ScopeGlobal && !p.Loopback && reachesNeighbours(&p, c.nets) {
			f.Others = append(f.Others, id)
		}
	}
	return nil
}

// blocks gathers the blocks of the configuration that match no prefix of the host.
func (c *collection) blocks() {
	for _, b := range selection.Unmatched(c.cfg, c.nets) {
		block := c.block(&b)
		if l, ok := c.nets.LinkByName(b.Interface); ok && !l.Up {
			block.Off, block.Manager = l.Name, c.o.manager(l.Index, l.Name)
		}
		c.facts.Unmatched = append(c.facts.Unmatched, block)
	}
}

func (c *collection) block(b *config.Block) Block {
	name := fmt.Sprintf("prefix %q", b.Written)
	if !b.Prefix.IsValid() {
		name = fmt.Sprintf("interface %q", b.Interface)
	}
	return Block{Name: name, At: fmt.Sprintf("%s:%d", c.cfg.File, b.Pos.Line)}
}

// scopes gathers what scopes and on_down need.
func (c *collection) scopes() {
	f := &c.facts
	for i := range c.cfg.Blocks {
		if b := &c.cfg.Blocks[i]; b.OnDown != nil && *b.OnDown == config.OnDownReset {
			f.Resets = append(f.Resets, c.block(b))
		}
	}
	f.NeverProbes = c.cfg.Probe.When == config.ProbeNever
	if len(c.cfg.Scopes) == 0 {
		return
	}
	f.Scopes = &Scopes{}
	if b, err := c.o.ReadFile("/proc/self/mounts"); err == nil {
		f.Scopes.NoGroups = !strings.Contains(string(b), " cgroup2 ")
	}
	set, known := c.o.capabilities()
	if !known || set&(1<<unix.CAP_SYS_ADMIN) != 0 && set&(1<<unix.CAP_NET_ADMIN) != 0 {
		return
	}
	for _, right := range []struct {
		name string
		bit  int
	}{{"CAP_BPF", unix.CAP_BPF}, {"CAP_PERFMON", unix.CAP_PERFMON}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}} {
		if set&(1<<right.bit) == 0 {
			f.Scopes.Rights = append(f.Scopes.Rights, right.name)
		}
	}
}

// diverted gathers the rules that lead some packets of the managed prefixes elsewhere.
func (c *collection) diverted() (err error) {
	f := &c.facts
	if f.Marks, f.Users, err = c.rules.diversions(c.far); err != nil {
		return err
	}
	if len(f.Marks) > 0 {
		f.Markers, f.MarkersKnown = c.o.markers()
	}
	return nil
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
func (c *collection) ledAddrs(p *netmon.Prefix) error {
	r := c.rules
	for _, a := range p.Addrs[1:] {
		if !slices.ContainsFunc(r.rules, func(x oracle.Rule) bool { return x.Source.IsValid() && x.Source.Contains(a) && !routing.Ours(&x) }) {
			continue // it goes where the first one goes
		}
		w, err := r.everywhere.Far(r.kernel, a.Is6(), oracle.Question{Src: a})
		if err != nil {
			return err
		}
		if !c.nets.IntoVPN(p, &w) {
			continue
		}
		l, _ := c.nets.Link(w.Index)
		led := Led{Prefix: c.o.prefix(p, c.nets), Into: l.Name, Other: true}
		led.Addr = a
		c.facts.Led = append(c.facts.Led, led)
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
	out.Turn = turn(p, nets)
	out.Ruled, out.Twin, out.Lent, out.Manager = p.Ruled, p.Twin, p.Lent, o.manager(p.Index, p.Interface)
	if p.Refused.Refused() {
		out.Refused = p.Refused.String()
	}
	return out
}

// turn returns the interfaces whose default routes share the traffic with that of a prefix.
func turn(p *netmon.Prefix, nets *netmon.Snapshot) (list []string) {
	t := nets.Turn()
	own := oracle.Hop{Index: p.Index, Gateway: p.Gateway}
	if !p.HasDefault || p.Metric != t.Metric || !slices.Contains(t.Hops, own) {
		return nil
	}
	for _, h := range t.Hops {
		l, _ := nets.Link(h.Index)
		list = append(list, l.Name)
	}
	return list
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
	set, known := o.capabilities()
	return !known || set&(1<<unix.CAP_NET_ADMIN) != 0 // nothing speaks against what is not known
}

// capabilities returns the effective capabilities of the daemon, one bit each.
func (o *Options) capabilities() (set uint64, known bool) {
	who := "self"
	if o.PID > 0 {
		who = strconv.Itoa(o.PID)
	}
	b, err := os.ReadFile("/proc/" + who + "/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return n, err == nil
		}
	}
	return 0, false
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
