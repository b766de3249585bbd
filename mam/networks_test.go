package mam

import (
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// lastFirst chooses the last candidate, with the others as alternates in reverse order.
var lastFirst = chooser(func(r *policy.Request) policy.Decision {
	if len(r.Prefixes) == 0 {
		return policy.Decision{}
	}
	list := slices.Clone(r.Prefixes)
	slices.Reverse(list)
	return policy.Decision{Prefix: list[0], Alternates: list[1:]}
})

func networksOf(known uint64) *wire.Message {
	return &wire.Message{
		Action: wire.ActionNetworksRequest, Features: wire.FeatureNetworks | wire.FeatureSelection,
		Context: wire.Context{Type: wire.SockDgram}, Watch: &wire.Watch{Generation: known},
	}
}

// seeing returns a View that asks a fresh policy for the order of networks.
func seeing(p policy.Policy) *View {
	v := host(p)
	v.Fresh = func() (policy.Policy, error) { return p, nil }
	return v
}

func order(m *wire.Message) (list []string) {
	for i := range m.Networks {
		n := &m.Networks[i]
		s := n.Prefix.String()
		if n.Flags&wire.NetworkOffered == 0 {
			s += " not offered"
		}
		list = append(list, s)
	}
	return list
}

// A client is told everything that is known about the networks, in the order in which
// the policy would use them.
func TestNetworks(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	v := seeing(lastFirst)
	v.Time = now
	v.Devices = map[policy.PrefixID]string{v.Prefixes[0].ID: "wlan0"}
	const ms = time.Millisecond
	p := *v.Prefixes[0]
	p.Name, p.Cost, p.Budget = "home", policy.Metered, policy.Budget{Limit: 100, Used: 40}
	p.Health = policy.Health{State: policy.Suspect, Reason: "a connect failed", Since: now}
	p.Stats = policy.PathStats{SRTTMedian: 12 * ms, SRTTMin: 9 * ms, RTTVarMedian: 2 * ms, LossUp: 0.25, SampleTime: now}
	p.Link = policy.LinkStats{Time: now, DownSMA: 1e6, UpRate: 2e5, DownRateMax: 5e6, UpRateMax: 1e6}
	p.Wifi = &policy.WifiStats{Signal: -61, BSSLoad: true, ChannelUtilization: 40.4}
	v.Prefixes[0] = &p
	v.Avoid = map[uint32][]policy.PrefixID{uint32(os.Getuid()): {v.Prefixes[3].ID}}
	d := start(t, v, Options{})

	got := d.dial(t).ask(networksOf(0))
	if got.Action != wire.ActionNetworksResponse || got.Features&wire.FeatureNetworks == 0 || got.Watch == nil || got.Watch.Generation == 0 || got.Watch.Total != 4 {
		t.Fatalf("answer %+v", got)
	}
	// The avoided network is not offered while its family has another one.
	if diff := cmp.Diff([]string{"fd77:1::/64", "10.77.2.0/24", "10.77.1.0/24", "fd77:2::/64 not offered"}, order(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want := wire.Network{
		Index: 2, Health: wire.PathSuspect, Cost: wire.Cost{Cost: wire.CostMetered, Left: 60},
		Flags: wire.NetworkDefault | wire.NetworkOffered | wire.NetworkRadio, Since: now.UnixMilli(),
		RTT: 12_000, MinRTT: 9_000, RTTVar: 2_000, Loss: 250_000, Down: 1e6, Up: 2e5, DownMax: 5e6, UpMax: 1e6, Signal: -61, Utilization: 404,
		Prefix: p.CIDR, Interface: "wlan0", Name: "home", Device: "wlan0", Reason: "a connect failed", Addrs: p.Addrs,
	}
	if diff := cmp.Diff(want, got.Networks[2], cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if h := got.Networks[3].Health; h != wire.PathSuspect {
		t.Errorf("what this user avoids is %d", h)
	}
	if d.Decisions().Count() != 0 {
		t.Error("it counts as a decision")
	}
}

func TestNetworksInOrder(t *testing.T) {
	prohibit := networksOf(0)
	prohibit.Selection = []wire.Preference{{Kind: wire.ByInterface, Want: wire.WantProhibit, Name: "wwan0"}}
	four := networksOf(0)
	four.Context.Domain = wire.AFInet
	only := chooser(func(r *policy.Request) policy.Decision { return policy.Decision{Only: true, Prefix: r.Prefixes[1]} })
	refuse := chooser(func(*policy.Request) policy.Decision { return policy.Decision{Only: true} })
	const w4, c4, w6, c6, not = "10.77.1.0/24", "10.77.2.0/24", "fd77:1::/64", "fd77:2::/64", " not offered"
	broken := seeing(takeFirst)
	broken.Fresh = func() (policy.Policy, error) { return nil, errors.New("cannot be made") }
	for _, tt := range []struct {
		name string
		view *View
		ask  *wire.Message
		want []string
	}{
		{"the policy's", seeing(lastFirst), networksOf(0), []string{c6, w6, c4, w4}},
		{"one family", seeing(lastFirst), four, []string{c4, w4, w6 + not, c6 + not}},
		{"the client's selection", seeing(lastFirst), prohibit, []string{w6, w4, c4 + not, c6 + not}},
		{"nothing else permitted", seeing(only), networksOf(0), []string{c4, w4 + not, w6 + not, c6 + not}},
		{"refused", seeing(refuse), networksOf(0), []string{w4 + not, c4 + not, w6 + not, c6 + not}},
		{"no policy", host(nil), networksOf(0), []string{w4, c4, w6, c6}},
		{"no policy, a selection", host(nil), prohibit, []string{w4, w6, c4 + not, c6 + not}},
		{"the policy cannot be asked", broken, networksOf(0), []string{w4, c4, w6, c6}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := start(t, tt.view, Options{})
			if diff := cmp.Diff(tt.want, order(d.dial(t).ask(tt.ask))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A client that knows an address of its destination hears which networks are best for that
// one, by what is known of the ways to it, whether or not the destination has a name.
func TestNetworksToADestination(t *testing.T) {
	v := seeing(chooser(func(r *policy.Request) (d policy.Decision) {
		for i, p := range r.Prefixes {
			if d.Prefix == nil || i < len(r.DestStats) && r.DestStats[i].Conns > 0 {
				d.Prefix = p
			}
		}
		return d
	}))
	v.Destinations = known{v.Prefixes[1].ID, netip.MustParseAddr("192.0.2.4"), policy.PathStats{Conns: 3}}
	d := start(t, v, Options{})
	const w4, c4, w6, c6, not = "10.77.1.0/24", "10.77.2.0/24", "fd77:1::/64", "fd77:2::/64", " not offered"
	for _, tt := range []struct {
		name, host, remote string
		want               []string
	}{
		{"anywhere", "", "", []string{w4, c4, w6, c6}},
		{"an address", "192.0.2.4", "192.0.2.4:443", []string{c4, w4, w6 + not, c6 + not}},
		{"a name", "service.test", "192.0.2.4:443", []string{c4, w4, w6 + not, c6 + not}},
		{"another address", "service.test", "192.0.2.5:443", []string{w4, c4, w6 + not, c6 + not}},
		{"the other family", "service.test", "[2001:db8::4]:443", []string{w6, c6, w4 + not, c4 + not}},
		{"an address within IPv6", "service.test", "[::ffff:192.0.2.4]:443", []string{c4, w4, w6 + not, c6 + not}},
		{"no address", "service.test", "0.0.0.0:443", []string{w4, c4, w6, c6}},
	} {
		ask := networksOf(0)
		ask.Context.Hostname, ask.Context.Service = tt.host, "443"
		if tt.remote != "" {
			ask.Context.Remote = wire.SockAddr{AddrPort: netip.MustParseAddrPort(tt.remote)}
		}
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, order(d.dial(t).ask(ask))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// with returns a copy of v in which the first prefix is changed.
func with(v *View, change func(*policy.Prefix)) *View {
	w := host(nil)
	w.Runner, w.Fresh = v.Runner, v.Fresh
	change(w.Prefixes[0])
	return w
}

// A client that knows the state is told when the state changes. New measurements are no
// change.
func TestNetworksWait(t *testing.T) {
	v := seeing(takeFirst)
	d := start(t, v, Options{})
	c := d.dial(t)
	first := c.ask(networksOf(0))
	for _, tt := range []struct {
		name   string
		change func(*policy.Prefix)
	}{
		{"fails", func(p *policy.Prefix) { p.Health.State = policy.Down }},
		{"recovers", func(*policy.Prefix) {}},
		{"becomes metered", func(p *policy.Prefix) { p.Cost = policy.Metered }},
		{"has another address", func(p *policy.Prefix) { p.Addrs = addrs("10.77.1.9") }},
	} {
		b, err := networksOf(first.Watch.Generation).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		d.Publish(with(d.View(), func(p *policy.Prefix) {
			*p = *d.View().Prefixes[0]
			p.Stats.SRTTMedian += time.Millisecond
		}))
		changed := with(v, tt.change)
		d.Publish(changed)
		got := c.read()
		if got.Watch.Generation == first.Watch.Generation {
			t.Errorf("%s: the same generation", tt.name)
		}
		i := slices.IndexFunc(got.Networks, func(n wire.Network) bool { return n.Prefix == v.Prefixes[0].CIDR })
		p := changed.Prefixes[0]
		if n := got.Networks[i]; n.Health != uint32(p.Health.State) || n.Cost.Cost != uint32(p.Cost) || n.Addrs[0] != p.Addrs[0] {
			t.Errorf("%s: %+v", tt.name, n)
		}
		first = got
	}
}

// watching returns how many requests for networks are waiting.
func (d *daemon) watching() int {
	d.changes.mu.Lock()
	defer d.changes.mu.Unlock()
	return d.changes.waiting
}

// The order is part of the state, so a client is told when another network becomes
// better.
func TestNetworksHearWhatIsBetter(t *testing.T) {
	fastest := chooser(func(r *policy.Request) policy.Decision {
		list := slices.Clone(r.Prefixes)
		slices.SortStableFunc(list, func(p, q *policy.Prefix) int { return int(p.Stats.SRTTMedian - q.Stats.SRTTMedian) })
		return policy.Decision{Prefix: list[0], Alternates: list[1:]}
	})
	v := seeing(fastest)
	d := start(t, v, Options{})
	c := d.dial(t)
	first := c.ask(networksOf(0))
	d.Publish(with(v, func(p *policy.Prefix) { p.Stats.SRTTMedian = 80 * time.Millisecond }))
	if got := c.ask(networksOf(first.Watch.Generation)); got.Networks[0].Prefix == first.Networks[0].Prefix {
		t.Errorf("%v is still the best", got.Networks[0].Prefix)
	}
}

// A client can ask for new measurements at intervals.
func TestNetworksFigures(t *testing.T) {
	d := start(t, seeing(takeFirst), Options{})
	c := d.dial(t)
	first := c.ask(networksOf(0))
	again := networksOf(first.Watch.Generation)
	again.Watch.Milliseconds = 1
	begun := time.Now()
	if got := c.ask(again); got.Watch.Generation != first.Watch.Generation {
		t.Error("another generation")
	}
	if took := time.Since(begun); took < leastWait/2 {
		t.Errorf("after %v", took)
	}
}

// A further request ends the wait, and both are answered in order. The end of the
// connection also ends the wait.
func TestNetworksWaitEnds(t *testing.T) {
	d := start(t, seeing(takeFirst), Options{})
	c := d.dial(t)
	first := c.ask(networksOf(0))
	b, err := networksOf(first.Watch.Generation).Append(nil)
	if err == nil {
		b, err = connectTo("192.0.2.1:80").Append(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if got := c.read(); got.Action != wire.ActionNetworksResponse || got.Watch.Generation != first.Watch.Generation {
		t.Errorf("answer %v", got.Action)
	}
	if got := c.read(); got.Action != wire.ActionConnectResponse {
		t.Errorf("answer %v", got.Action)
	}
	if b, err = networksOf(first.Watch.Generation).Append(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	for d.watching() > 0 {
		runtime.Gosched()
	}
}

// A client that has not announced the extension does not get it. A tag that belongs to
// answers only is not echoed.
func TestNetworksNotAnnounced(t *testing.T) {
	d := start(t, seeing(takeFirst), Options{})
	req := networksOf(0)
	req.Features = wire.FeatureReason
	if got := d.dial(t).ask(req); got.Action != wire.ActionErrorUnknownRequest || got.Watch != nil || len(got.Networks) > 0 {
		t.Errorf("answer %+v", got)
	}
	echo := connectTo("192.0.2.1:80")
	echo.Watch = &wire.Watch{Generation: 1}
	echo.Networks = []wire.Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
	if got := d.dial(t).ask(echo); got.Watch != nil || len(got.Networks) > 0 {
		t.Errorf("answer %+v", got)
	}
}
