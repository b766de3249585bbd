package netmon_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/network/oracle"
	"github.com/socket-intents/mamma/internal/testing/testbed"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // tests that need more are skipped and say so
	goleak.VerifyTestMain(m)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// run runs the monitor until the test ends.
func run(t *testing.T, m *netmon.Monitor) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// watch makes a test bed and a monitor that runs in its client.
func watch(t *testing.T, config testbed.Config) (*testbed.Bed, *netmon.Monitor) {
	t.Helper()
	b := testbed.ForTest(t, config)
	m, err := netmon.New(netmon.Options{Namespace: b.Client.FD()}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	run(t, m)
	return b, m
}

// await waits for a snapshot that satisfies the condition.
func await(t *testing.T, m *netmon.Monitor, what string, ok func(*netmon.Snapshot) bool) *netmon.Snapshot {
	t.Helper()
	changes, cancel := m.Subscribe()
	defer cancel()
	deadline := time.After(20 * time.Second)
	for {
		if s := m.Snapshot(); ok(s) {
			return s
		}
		select {
		case <-changes:
		case <-deadline:
			t.Fatalf("%s: not seen; prefixes are\n%s", what, describe(m.Snapshot()))
		}
	}
}

// describe shows prefixes as "10.1.0.0/24%wlan0 10.1.0.2".
func describe(s *netmon.Snapshot) string {
	var lines []string
	for _, p := range s.Prefixes() {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s%%%s %v", p.Prefix, p.Interface, p.Addrs)))
	}
	return strings.Join(lines, "\n")
}

func has(prefix, iface string) func(*netmon.Snapshot) bool {
	return func(s *netmon.Snapshot) bool {
		return slices.ContainsFunc(s.Prefixes(), func(p netmon.Prefix) bool {
			return p.Prefix.String() == prefix && p.Interface == iface
		})
	}
}

func not(f func(*netmon.Snapshot) bool) func(*netmon.Snapshot) bool {
	return func(s *netmon.Snapshot) bool { return !f(s) }
}

func networks(sourceRule bool) testbed.Config {
	return testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0", SourceRule: sourceRule}, {Name: "wwan0", SourceRule: sourceRule}}}
}

func address(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func link(t *testing.T, n *testbed.Namespace, name string) netlink.Link {
	t.Helper()
	l, err := n.Handle().LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFirstSnapshot(t *testing.T) {
	t.Parallel()
	for _, sourceRule := range []bool{false, true} {
		t.Run(fmt.Sprintf("source rule %v", sourceRule), func(t *testing.T) {
			t.Parallel()
			b, m := watch(t, networks(sourceRule))
			s := m.Snapshot()
			type row struct {
				Name, Prefix     string
				Default, Running bool
				Metric           int
				Gateway          string
				Egress           string
			}
			var got []row
			for _, p := range s.Prefixes() {
				if p.Scope == netmon.ScopeGlobal {
					egress, _ := s.Link(p.Egress)
					got = append(got, row{p.Interface, p.Prefix.String(), p.HasDefault, p.Running, p.Metric, p.Gateway.String(), egress.Name})
				}
			}
			second := "wlan0" // binding alone does not hold
			if sourceRule {
				second = "wwan0"
			}
			want := []row{
				{"wlan0", "10.1.0.0/24", true, true, 100, "10.1.0.1", "wlan0"},
				{"wwan0", "10.2.0.0/24", true, true, 200, "10.2.0.1", second},
				{"wlan0", "2001:db8:1::/64", true, true, 100, "2001:db8:1::1", "wlan0"},
				{"wwan0", "2001:db8:2::/64", true, true, 200, "2001:db8:2::1", second},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if l, ok := s.Link(b.Networks[1].Index); !ok || l.Name != "wwan0" || l.Type != "veth" || !l.Up || l.Loopback {
				t.Errorf("link %+v", l)
			}
			if l, ok := s.DefaultEgress(true); !ok || l.Name != "wlan0" {
				t.Errorf("unbound IPv6 leaves by %q", l.Name)
			}
			rules := 0
			for _, r := range s.Rules() {
				if r.Source.IsValid() && !r.Conditional() {
					rules++
				}
			}
			if want := map[bool]int{false: 0, true: 4}[sourceRule]; rules != want {
				t.Errorf("%d source rules, want %d", rules, want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	h, l := b.Client.Handle(), link(t, b.Client, "wwan0")
	must(t, h.AddrAdd(l, address(t, "172.16.5.9/24")))
	await(t, m, "a new prefix", has("172.16.5.0/24", "wwan0"))
	must(t, h.AddrDel(l, address(t, "172.16.5.9/24")))
	await(t, m, "no more", not(has("172.16.5.0/24", "wwan0")))

	// A deprecated address goes behind the others of its prefix.
	old := address(t, "2001:db8:2::1:1/64")
	old.Flags, old.PreferedLft, old.ValidLft = 0x02 /* IFA_F_NODAD */, 0, 3600
	must(t, h.AddrAdd(l, old))
	await(t, m, "a deprecated address", func(s *netmon.Snapshot) bool {
		p := s.PrefixOf(netip.MustParseAddr("2001:db8:2::2"))
		return p != nil && slices.Equal(p.Addrs, []netip.Addr{netip.MustParseAddr("2001:db8:2::2"), netip.MustParseAddr("2001:db8:2::1:1")})
	})

	// One that may be a duplicate cannot be bound yet.
	must(t, b.Client.Sysctl("net.ipv6.conf.wwan0.accept_dad", "1"))
	must(t, b.Client.Sysctl("net.ipv6.conf.wwan0.dad_transmits", "100"))
	must(t, h.AddrAdd(l, address(t, "2001:db8:99::1/64")))
	await(t, m, "a tentative address", func(s *netmon.Snapshot) bool {
		return slices.ContainsFunc(s.Addrs(), func(a netmon.Addr) bool {
			return a.Unusable && a.Prefix.String() == "2001:db8:99::1/64"
		}) && !has("2001:db8:99::/64", "wwan0")(s)
	})
}

func TestRoutesAndRules(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	h, n := b.Client.Handle(), b.Network("wwan0")
	dst, err := netlink.ParseIPNet("198.51.100.0/24")
	must(t, err)
	r := &netlink.Route{LinkIndex: n.Index, Dst: dst, Gw: n.Gateway4.AsSlice()}
	leads := func() int {
		a, err := m.Kernel().Match(oracle.Question{Dst: netip.MustParseAddr("198.51.100.7")})
		must(t, err)
		return a.Index
	}
	// A route for a single destination changes no snapshot, but voids what was remembered
	// about destinations.
	epoch := m.Kernel().Epoch()
	must(t, h.RouteAdd(r))
	awaitEpoch(t, m, epoch)
	if got := leads(); got != n.Index {
		t.Errorf("with a route of its own it leaves by interface %d, want %d", got, n.Index)
	}
	epoch = m.Kernel().Epoch()
	must(t, h.RouteDel(r))
	awaitEpoch(t, m, epoch)
	if got := leads(); got != b.Networks[0].Index {
		t.Errorf("without it leaves by interface %d, want %d", got, b.Networks[0].Index)
	}

	all, err := netlink.ParseIPNet("0.0.0.0/0")
	must(t, err)
	must(t, h.RouteAdd(&netlink.Route{LinkIndex: n.Index, Dst: all, Gw: n.Gateway4.AsSlice(), Table: 4242}))
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table = netlink.FAMILY_V4, 500, 4242
	must(t, h.RuleAdd(rule))
	await(t, m, "a rule that takes all", func(s *netmon.Snapshot) bool {
		l, ok := s.DefaultEgress(false)
		return ok && l.Name == "wwan0"
	})
}

// Of default routes that have one metric, the kernel takes now one and now another,
// whatever the source. So only sockets that are bound to an interface use it for certain,
// and no network is lost.
func TestDefaultRoutesInTurn(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	h := b.Client.Handle()
	all, err := netlink.ParseIPNet("0.0.0.0/0")
	must(t, err)
	for _, n := range b.Networks {
		must(t, h.RouteAppend(&netlink.Route{LinkIndex: n.Index, Dst: all, Gw: n.Gateway4.AsSlice(), Table: netmon.TableMain, Priority: 1024}))
	}
	old, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: all, Table: netmon.TableMain}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	must(t, err)
	for i := range old {
		if old[i].Priority != 1024 {
			must(t, h.RouteDel(&old[i]))
		}
	}
	for _, n := range b.Networks { // without a fresh confirmation of either, the routes take turns
		must(t, h.NeighSet(&netlink.Neigh{LinkIndex: n.Index, IP: n.Gateway4.AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, State: netlink.NUD_PERMANENT}))
	}
	s := await(t, m, "both routes", func(s *netmon.Snapshot) bool { return len(s.Turn().Hops) == 2 })
	if w := s.Default(false); !w.Shared || w.Metric != 1024 {
		t.Errorf("unbound sockets: %+v; want a shared way", w)
	}
	for _, n := range b.Networks {
		p := s.PrefixOn(n.Index, n.Prefix4)
		if p == nil || p.Egress != 0 || !p.HasDefault || p.Gateway != n.Gateway4 {
			t.Errorf("%s: %+v; want its own default route, and none for certain by its address", n.Name, p)
		}
	}
	used := map[int]bool{}
	for range 2 {
		a, err := m.Kernel().Match(oracle.Question{Dst: netip.MustParseAddr("198.51.100.7"), Src: b.Networks[1].Client4})
		must(t, err)
		used[a.Index] = true
	}
	if len(used) != 2 {
		t.Errorf("the kernel sends by interface %v only; want turns", used)
	}
	scope := oracle.Scope{Turn: s.Turn(), Devices: []int{b.Networks[0].Index, b.Networks[1].Index}}
	for range 2 {
		if got := oracle.NewReacher(m.Kernel(), scope).Reach(oracle.Flow{Dst: netip.MustParseAddr("198.51.100.7")}); got.Specific || len(got.Not) > 0 {
			t.Errorf("a far destination: %+v; want all networks", got)
		}
	}

	must(t, h.RouteDel(&netlink.Route{LinkIndex: b.Networks[0].Index, Dst: all, Gw: b.Networks[0].Gateway4.AsSlice(), Priority: 1024}))
	await(t, m, "one route", func(s *netmon.Snapshot) bool {
		return len(s.Turn().Hops) == 0 && s.Default(false).Index == b.Networks[1].Index
	})
}

// awaitEpoch waits until what was learnt at an epoch is void.
func awaitEpoch(t *testing.T, m *netmon.Monitor, epoch uint64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); m.Kernel().Epoch() == epoch; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("no event")
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	h := b.Client.Handle()
	usable := has("10.2.0.0/24", "wwan0")

	// The link goes down and up again. The shortest of some flaps shows the monitor's own
	// delay, whatever else the machine does.
	best := time.Hour
	for range 5 {
		l := link(t, b.Client, "wwan0")
		start := time.Now()
		must(t, h.LinkSetDown(l))
		await(t, m, "link down", not(usable))
		best = min(best, time.Since(start))
		must(t, h.LinkSetUp(l))
		await(t, m, "link up", usable)
	}
	if best > 50*time.Millisecond {
		t.Errorf("a link that went down was seen after %v, want 50 ms", best)
	}

	// The other end goes. The link is still up, but carries nothing.
	lan := link(t, b.Network("wwan0").Server.Namespace, "lan")
	must(t, b.Network("wwan0").Server.Handle().LinkSetDown(lan))
	await(t, m, "no carrier", func(s *netmon.Snapshot) bool {
		p := s.PrefixOf(b.Network("wwan0").Client4)
		return p != nil && !p.Running
	})
	must(t, b.Network("wwan0").Server.Handle().LinkSetUp(lan))
	await(t, m, "carrier", func(s *netmon.Snapshot) bool {
		p := s.PrefixOf(b.Network("wwan0").Client4)
		return p != nil && p.Running
	})

	l := link(t, b.Client, "wwan0")
	must(t, h.LinkSetDown(l))
	must(t, h.LinkSetName(l, "lte"))
	must(t, h.LinkSetUp(l))
	await(t, m, "new name", has("10.2.0.0/24", "lte"))

	must(t, h.LinkDel(l))
	await(t, m, "gone", func(s *netmon.Snapshot) bool {
		_, ok := s.LinkByName("lte")
		return !ok && !has("10.2.0.0/24", "lte")(s)
	})
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lte"
	must(t, h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}))
	again := link(t, b.Client, "lte")
	must(t, h.AddrAdd(again, address(t, "10.2.0.2/24")))
	must(t, h.LinkSetUp(again))
	s := await(t, m, "back", has("10.2.0.0/24", "lte"))
	if p := s.PrefixOf(netip.MustParseAddr("10.2.0.2")); p.Index != again.Attrs().Index || p.Index == l.Attrs().Index {
		t.Errorf("prefix on link %d, want %d", p.Index, again.Attrs().Index)
	}
}

func TestFullTunnel(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	h := b.Client.Handle()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "tun0"
	// The link is persistent, so that it needs no open descriptor. It goes with the
	// namespace.
	err := b.Client.Do(func() error { return netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN}) })
	if err != nil {
		testbed.SkipOrFail(t, fmt.Errorf("%w: opening /dev/net/tun: %w", testbed.ErrUnavailable, err))
	}
	tun := link(t, b.Client, "tun0")
	must(t, h.AddrAdd(tun, address(t, "10.8.0.2/24")))
	must(t, h.LinkSetUp(tun))
	await(t, m, "tunnel", has("10.8.0.0/24", "tun0"))
	if l, ok := m.Snapshot().FullTunnel(false); ok {
		t.Errorf("%s takes all without a route", l.Name)
	}
	for _, half := range []string{"0.0.0.0/1", "128.0.0.0/1"} {
		dst, err := netlink.ParseIPNet(half)
		must(t, err)
		must(t, h.RouteAdd(&netlink.Route{LinkIndex: tun.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}))
	}
	await(t, m, "full tunnel", func(s *netmon.Snapshot) bool {
		l, ok := s.FullTunnel(false)
		return ok && l.Name == "tun0"
	})
}

func TestManyAddresses(t *testing.T) {
	t.Parallel()
	b, m := watch(t, networks(false))
	h, l := b.Client.Handle(), link(t, b.Client, "wwan0")
	const subnets, second = 256, 44 // the first of them have two addresses
	for i := range subnets {
		must(t, h.AddrAdd(l, address(t, fmt.Sprintf("172.16.%d.9/24", i))))
		if i < second {
			must(t, h.AddrAdd(l, address(t, fmt.Sprintf("172.16.%d.10/24", i))))
		}
	}
	await(t, m, "300 addresses in 256 prefixes", func(s *netmon.Snapshot) bool {
		prefixes, addrs := 0, 0
		for _, p := range s.Prefixes() {
			if strings.HasPrefix(p.Prefix.String(), "172.16.") {
				prefixes++
				addrs += len(p.Addrs)
			}
		}
		return prefixes == subnets && addrs == subnets+second
	})
}

// TestOverrun fills the socket before anything reads from it.
func TestOverrun(t *testing.T) {
	t.Parallel()
	b := testbed.ForTest(t, networks(false))
	log := &recorder{}
	m, err := netmon.New(netmon.Options{Namespace: b.Client.FD(), ReceiveBuffer: 1, Debounce: time.Millisecond}, slog.New(log))
	must(t, err)
	h, l := b.Client.Handle(), link(t, b.Client, "wwan0")
	for i := range 100 {
		must(t, h.AddrAdd(l, address(t, fmt.Sprintf("172.16.%d.9/24", i))))
	}
	run(t, m)
	await(t, m, "the last address", has("172.16.99.0/24", "wwan0"))
	if !log.saw("network events lost") {
		t.Error("no overrun happened")
	}
	must(t, h.AddrDel(l, address(t, "172.16.99.9/24")))
	await(t, m, "a change after the overrun", not(has("172.16.99.0/24", "wwan0")))
}

// TestNoNamespace reads the host's own state, which needs no privileges.
func TestNoNamespace(t *testing.T) {
	t.Parallel()
	m, err := netmon.New(netmon.Options{}, quiet())
	must(t, err)
	defer m.Close()
	if l, ok := m.Snapshot().LinkByName("lo"); !ok || !l.Loopback {
		t.Errorf("loopback is %+v, %v", l, ok)
	}
}

func TestBadNamespace(t *testing.T) {
	t.Parallel()
	if _, err := netmon.New(netmon.Options{Namespace: 1 << 20}, quiet()); err == nil {
		t.Error("no error")
	}
}

// recorder keeps messages.
type recorder struct {
	mu       sync.Mutex
	messages []string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, record.Message)
	return nil
}

func (r *recorder) saw(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.messages, func(m string) bool { return strings.Contains(m, text) })
}

// The monitor passes on at once that a link goes down, however long other events take.
func TestLinkDownIsNotWaitedWith(t *testing.T) {
	t.Parallel()
	b := testbed.ForTest(t, networks(false))
	m, err := netmon.New(netmon.Options{Namespace: b.Client.FD(), Debounce: time.Hour}, quiet())
	must(t, err)
	voided := make(chan struct{}, 1)
	m.OnEvent(func() {
		select {
		case voided <- struct{}{}:
		default:
		}
	})
	run(t, m)
	must(t, b.Client.Handle().LinkSetDown(link(t, b.Client, "wwan0")))
	<-voided
	await(t, m, "link down", not(has("10.2.0.0/24", "wwan0")))
}

// The link-layer address of a gateway is known as soon as the kernel knows it, and when
// another machine has taken over the gateway's address.
func TestGatewayHardware(t *testing.T) {
	b, m := watch(t, networks(false))
	w := b.Network("wlan0")
	hardware := func(s *netmon.Snapshot) string {
		for _, p := range s.Prefixes() {
			if p.Interface == "wlan0" && p.Gateway == w.Gateway4 {
				return s.Hardware(&p)
			}
		}
		return ""
	}
	for _, address := range []string{"02:00:00:00:00:0a", "02:00:00:00:00:0b"} {
		hw, err := net.ParseMAC(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Client.Do(func() error {
			l, err := netlink.LinkByName("wlan0")
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: w.Gateway4.AsSlice(), HardwareAddr: hw, State: netlink.NUD_STALE})
		}); err != nil {
			t.Fatal(err)
		}
		await(t, m, "the gateway "+address, func(s *netmon.Snapshot) bool { return hardware(s) == address })
	}
}
