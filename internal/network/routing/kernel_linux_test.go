package routing

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/socket-intents/mamma/internal/network/netmon"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/policy"
)

func TestMain(m *testing.M) {
	_ = testbed.Enter() // New says what is missing
	goleak.VerifyTestMain(m)
}

// world is a client with two networks, without anything that routes by source, and the
// tables under test.
type world struct {
	*testbed.Bed
	t      *testing.T
	kernel *Kernel
	tables Tables
}

func newWorld(t *testing.T, networks ...testbed.NetworkConfig) *world {
	t.Helper()
	w := &world{Bed: testbed.ForTest(t, testbed.Config{Networks: networks}), t: t}
	var err error
	if w.kernel, err = Open(w.Client.FD(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kernel.Close)
	return w
}

func (w *world) snapshot() *netmon.Snapshot {
	w.t.Helper()
	m, err := netmon.New(netmon.Options{Namespace: w.Client.FD(), Routes: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	defer m.Close()
	return m.Snapshot()
}

// plan makes the plan for all prefixes with a default route.
func (w *world) plan() Plan {
	w.t.Helper()
	s := w.snapshot()
	var ids []policy.PrefixID
	for _, p := range s.Prefixes() {
		if p.Scope != netmon.ScopeGlobal {
			continue
		}
		ids = append(ids, policy.PrefixID{Interface: p.Interface, Prefix: p.Prefix})
	}
	plan, err := w.tables.Plan(ids, s)
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

func (w *world) apply() {
	w.t.Helper()
	if _, err := w.kernel.Apply(w.t.Context(), w.plan()); err != nil {
		w.t.Fatal(err)
	}
}

// by returns, for each family, the interface that a connection from the network's addresses
// really takes to the service. The service sees that.
func (w *world) by(n *testbed.Network) string {
	w.t.Helper()
	got := ""
	for _, pair := range [][2]netip.Addr{{n.Client4, testbed.ServiceAddr4}, {n.Client6, testbed.ServiceAddr6}} {
		if !pair[0].IsValid() {
			continue
		}
		ctx, cancel := context.WithTimeout(w.t.Context(), 300*time.Millisecond)
		c, err := w.Client.Dial(ctx, &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(pair[0], 0))}, "tcp", netip.AddrPortFrom(pair[1], 80).String())
		cancel()
		if err != nil {
			got += "-" // the other network's gateway has dropped it
			continue
		}
		_ = c.Close()
		got += "+"
	}
	return got
}

func (w *world) check(want string) {
	w.t.Helper()
	got := ""
	for _, n := range w.Networks {
		got += n.Name + w.by(n) + " "
	}
	if got != want {
		w.t.Errorf("sources that get through: %s, want %s", got, want)
	}
}

// foreign lists the rules and routes that are not ours.
func (w *world) foreign() (list []string) {
	w.t.Helper()
	for _, f := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := w.Client.Handle().RuleList(f)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range rules {
			if r.Protocol != Protocol {
				list = append(list, r.String())
			}
		}
		routes, err := w.Client.Handle().RouteListFiltered(f, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range routes {
			if r.Protocol != Protocol {
				list = append(list, r.String())
			}
		}
	}
	return list
}

// rules lists our rules, address by address, in the kernel's order.
func (w *world) rules() ([]Rule, error) {
	p, err := w.kernel.readRules()
	if err != nil {
		return nil, err
	}
	var all []Rule
	for _, list := range p.groups {
		all = append(all, list...)
	}
	slices.SortStableFunc(all, compareRules)
	return all, nil
}

func (w *world) ours() int {
	w.t.Helper()
	routes, err := w.kernel.routes()
	if err != nil {
		w.t.Fatal(err)
	}
	rules, err := w.rules()
	if err != nil {
		w.t.Fatal(err)
	}
	return len(routes) + len(rules)
}

func TestApply(t *testing.T) {
	w := newWorld(t, testbed.NetworkConfig{Name: "wlan0"}, testbed.NetworkConfig{Name: "wwan0"})
	before := w.foreign()
	w.check("wlan0++ wwan0-- ")
	w.apply()
	w.check("wlan0++ wwan0++ ")

	// Each egress is the interface itself now, so no device needs to be bound.
	for _, p := range w.snapshot().Prefixes() {
		if p.HasDefault && p.Scope == netmon.ScopeGlobal && p.Egress != p.Index {
			t.Errorf("%v leaves by interface %d, not %d", p.Prefix, p.Egress, p.Index)
		}
	}
	// Neighbours of the other network are still reached directly.
	wlan, wwan := w.Networks[0], w.Networks[1]
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := w.Client.Dial(ctx, &net.Dialer{}, "tcp", netip.AddrPortFrom(wwan.Gateway4, 80).String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()

	// A second run changes nothing. Neither does one that starts without memory.
	n := w.ours()
	counter := &counting{Handler: slog.DiscardHandler}
	again := *w.kernel
	again.log = slog.New(counter)
	w.tables = Tables{}
	if _, err := again.Apply(t.Context(), w.plan()); err != nil || counter.n > 0 || w.ours() != n {
		t.Errorf("not idempotent: %v, %d log lines, %d entries of %d", err, counter.n, w.ours(), n)
	}

	// Somebody flushes the rules and a table.
	rules, err := w.Client.Handle().RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.Protocol == Protocol {
			if err := w.Client.Handle().RuleDel(&r); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.check("wlan0++ wwan0-+ ")
	w.apply()
	w.check("wlan0++ wwan0++ ")

	// A further address, such as one of the privacy extensions, gets its rules.
	link, err := w.Client.Handle().LinkByName("wwan0")
	if err != nil {
		t.Fatal(err)
	}
	extra := netip.PrefixFrom(wwan.Client4.Next(), 24)
	if err := w.Client.Handle().AddrAdd(link, &netlink.Addr{IPNet: ipNet(extra)}); err != nil {
		t.Fatal(err)
	}
	w.apply()
	if got := w.by(&testbed.Network{Client4: extra.Addr()}); got != "+" {
		t.Errorf("the new address: %s", got)
	}
	if err := w.Client.Handle().AddrDel(link, &netlink.Addr{IPNet: ipNet(extra)}); err != nil {
		t.Fatal(err)
	}
	w.apply()
	if got := w.ours(); got != n {
		t.Errorf("%d entries, want %d as before", got, n)
	}

	// A prefix that is no longer managed needs no rules.
	s := w.snapshot()
	only, err := w.tables.Plan([]policy.PrefixID{{Interface: "wlan0", Prefix: wlan.Prefix4}}, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.kernel.Apply(t.Context(), only); err != nil {
		t.Fatal(err)
	}
	w.check("wlan0++ wwan0-- ")

	if _, err := w.kernel.Apply(t.Context(), Plan{}); err != nil || w.ours() != 0 {
		t.Errorf("after removal: %d entries, %v", w.ours(), err)
	}
	if diff := cmp.Diff(before, w.foreign()); diff != "" {
		t.Errorf("what is not ours has changed (-before +after)\n%s", diff)
	}
}

// When the gateway changes, the table follows. When the default route goes, the table's
// default route goes, too.
func TestApplyFollowsGateway(t *testing.T) {
	w := newWorld(t, testbed.NetworkConfig{Name: "wlan0"}, testbed.NetworkConfig{Name: "wwan0"})
	w.apply()
	n := w.Networks[1]
	h := w.Client.Handle()
	other := n.Client4.Next().Next()
	def := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if err := h.RouteReplace(&netlink.Route{LinkIndex: n.Index, Dst: ipNet(def), Gw: other.AsSlice(), Priority: 200}); err != nil {
		t.Fatal(err)
	}
	w.apply()
	routes, err := w.kernel.routes()
	if err != nil {
		t.Fatal(err)
	}
	var gateways []string
	for _, r := range routes {
		if r.Hops[0].Index == n.Index && r.Prefix == def {
			gateways = append(gateways, r.Hops[0].Gateway.String())
		}
	}
	if !slices.Equal(gateways, []string{other.String()}) {
		t.Errorf("gateways of the table: %v", gateways)
	}
	if err := h.RouteDel(&netlink.Route{LinkIndex: n.Index, Dst: ipNet(def), Gw: other.AsSlice(), Priority: 200}); err != nil {
		t.Fatal(err)
	}
	w.apply()
	if p := w.snapshot().PrefixWith(n.Client4); p == nil || p.HasDefault {
		t.Errorf("a default route is left: %+v", p)
	}
}

type counting struct {
	slog.Handler
	n int
}

func (c *counting) Enabled(context.Context, slog.Level) bool { return true }

func (c *counting) Handle(context.Context, slog.Record) error { c.n++; return nil }

// Traffic that the owner of the host forbids stays forbidden. The prohibition may be
// made before or after our rules, and ip(8) may put it anywhere among them. If somebody
// removes some of our rules or puts others between them, that is mended.
func TestForbiddenStays(t *testing.T) {
	for _, tt := range []struct{ name, rule, refused string }{
		{"by source", "from 10.2.0.2 prohibit priority 20000", "wlan0+ wwan0- "},
		{"by source, where ip(8) puts it", "from 10.2.0.2 prohibit", "wlan0+ wwan0- "},
		{"directly before main", "from 10.2.0.2 prohibit priority 32765", "wlan0+ wwan0- "},
		{"by destination", "to 192.0.2.0/24 unreachable priority 20000", "wlan0- wwan0- "},
		{"by user", "uidrange 0-0 blackhole priority 30000", "wlan0- wwan0- "},
		{"by port", "from 10.2.0.2 ipproto tcp dport 80 prohibit priority 32000", "wlan0+ wwan0- "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, testbed.NetworkConfig{Name: "wlan0", Prefix4: netip.MustParsePrefix("10.1.0.0/24")},
				testbed.NetworkConfig{Name: "wwan0", Prefix4: netip.MustParsePrefix("10.2.0.0/24")})
			w.ip("rule add " + tt.rule)
			w.apply()
			w.check(tt.refused)
			w.ip("rule del " + tt.rule)
			w.apply()
			w.check("wlan0+ wwan0+ ")
			w.ip("rule add " + tt.rule)
			if !strings.HasSuffix(tt.rule, "priority 32765") { // which comes behind ours at first
				w.check(tt.refused)
			}
			w.apply()
			w.check(tt.refused)
			w.apply() // a network that is refused whole needs none
			if n := w.changes(); n != 0 {
				t.Errorf("%d changes without need", n)
			}
		})
	}
}
