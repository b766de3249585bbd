package client

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

var wlan = wire.Network{
	Index: 2, Health: wire.PathSuspect, Cost: wire.Cost{Cost: wire.CostMetered, Left: 60}, Since: 1_800_000_000_000,
	Flags: wire.NetworkDefault | wire.NetworkOffered | wire.NetworkRadio,
	RTT:   12_000, MinRTT: 9_000, RTTVar: 2_000, Loss: 250_000, Down: 1e6, Up: 2e5, DownMax: 5e6, UpMax: 1e6, Signal: -61, Utilization: 404,
	Prefix: netip.MustParsePrefix("192.0.2.0/24"), Interface: "wlan0", Name: "home", Device: "wlan0", Reason: "a connect failed",
	Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
}

var eth = wire.Network{
	Cost: wire.Cost{Left: wire.NoBudget}, Utilization: wire.UnknownUtilization, Prefix: netip.MustParsePrefix("2001:db8::/64"), Interface: "eth0",
}

func noScript(m *wire.Message) bool {
	m.Action = wire.ActionErrorUnknownRequest
	return true
}

func TestNetworks(t *testing.T) {
	m := rawmanager.Start(t, "", false, noScript)
	m.SetNetworks([]wire.Network{wlan, eth})
	d := dialer(t, m.Path)
	got, err := d.Networks(t.Context(), "udp4")
	if err != nil {
		t.Fatal(err)
	}
	const ms = time.Millisecond
	want := []Network{
		{
			Interface: "wlan0", Index: 2, Prefix: wlan.Prefix, Name: "home", Addrs: wlan.Addrs, Device: "wlan0",
			State: NetworkSuspect, Reason: "a connect failed", Since: time.UnixMilli(wlan.Since), Usable: true, Default: true,
			Cost: CostMetered, Limited: true, Left: 60, RTT: 12 * ms, MinRTT: 9 * ms, RTTVar: 2 * ms, Loss: 0.25,
			Down: 1e6, Up: 2e5, MaxDown: 5e6, MaxUp: 1e6, Wireless: true, Signal: -61, ChannelUse: 0.404,
		},
		{Interface: "eth0", Prefix: eth.Prefix},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s := got[0].String(); s != "192.0.2.0/24%wlan0 suspect" {
		t.Errorf("%q", s)
	}
}

// The request has the kind of connection, the intents and the selection.
func TestNetworksRequest(t *testing.T) {
	d := &Dialer{
		Intents:   intent.Set{}.WithCategory(intent.CategoryStream),
		Selection: SelectionProperties{}.WithCost(CostExpensive, Prohibit),
	}
	ctx := intent.NewContext(t.Context(), intent.Set{}.WithDuration(time.Minute))
	w, err := d.newWatcher(ctx, "udp6", 250*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	m := w.request(features)
	wantIntents := intent.Set{}.WithCategory(intent.CategoryStream).WithDuration(time.Minute)
	if m.Context.Type != wire.SockDgram || m.Context.Domain != wire.AFInet6 || m.Intents() != wantIntents ||
		wire.SelectionText(m.Selection) != "prohibit cost expensive" || *m.Watch != (wire.Watch{Milliseconds: 250}) {
		t.Errorf("%+v", m)
	}
	if c := m.Context; c.Hostname != "" || c.Service != "" || c.Remote.IsValid() {
		t.Errorf("a destination that nobody named: %+v", c)
	}
	w.to = destination{"service.test", netip.MustParseAddrPort("[2001:db8::1]:443")}
	if c := w.request(features).Context; c.Hostname != "service.test" || c.Service != "443" || c.Remote.AddrPort != w.to.remote {
		t.Errorf("the destination: %+v", c)
	}
	if m := w.request(features &^ wire.FeatureNetworks); m.Action != wire.ActionErrorUnknownRequest || m.Watch != nil {
		t.Errorf("to a manager that does not know it: %+v", m)
	}
}

func TestNetworksErrors(t *testing.T) {
	original := rawmanager.Start(t, "", true, noScript)
	if _, err := dialer(t, original.Path).Networks(t.Context(), "tcp"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of an original daemon: %v", err)
	}
	for err := range errorsOf(dialer(t, original.Path).Watch(t.Context(), "tcp", 0)) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("of an original daemon: %v", err)
		}
		break
	}
	absent := dialer(t, t.TempDir()+"/none")
	if _, err := absent.Networks(t.Context(), "tcp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a manager: %v", err)
	}
	for _, network := range []string{"", "ip", "tcp5", "unix"} {
		if _, err := absent.Networks(t.Context(), network); err == nil {
			t.Errorf("%q is a network", network)
		}
	}
	odd := dialer(t, rawmanager.Start(t, "", false, func(m *wire.Message) bool { return true }).Path)
	odd.Daemon.DecisionTimeout = -1
	if _, err := odd.Networks(t.Context(), "tcp"); !errors.Is(err, errDisabled) {
		t.Errorf("switched off: %v", err)
	}
	if _, err := networksIn(features, &wire.Message{Action: wire.ActionNetworksResponse}); err == nil {
		t.Error("an answer without a generation is taken")
	}
}

// errorsOf yields the errors of a Watch.
func errorsOf(seq iter.Seq2[[]Network, error]) iter.Seq[error] {
	return func(yield func(error) bool) {
		for _, err := range seq {
			if err != nil && !yield(err) {
				return
			}
		}
	}
}

// A Watch yields the networks, each change, the end of the manager, and the networks
// when the manager is back. A slow reader gets only the latest state.
func TestWatch(t *testing.T) {
	m := rawmanager.Start(t, "", false, noScript)
	m.SetNetworks([]wire.Network{wlan})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := dialer(t, m.Path)
	down := wlan
	down.Health = wire.PathDown
	step := 0
	for list, err := range d.Watch(ctx, "tcp", 0) {
		step++
		switch step {
		case 1:
			if err != nil || len(list) != 1 || list[0].State != NetworkSuspect {
				t.Fatal(list, err)
			}
			m.SetNetworks(nil)
			m.SetNetworks([]wire.Network{eth, wlan, down})
			m.SetNetworks([]wire.Network{eth, down})
		case 2:
			if err != nil || len(list) != 2 || list[1].State != NetworkDown {
				t.Fatal(list, err)
			}
			m.Stop()
		case 3:
			if err == nil || list != nil {
				t.Fatal(list, err)
			}
			m = rawmanager.Start(t, m.Path, false, noScript)
		case 4:
			if err != nil || len(list) != 0 {
				t.Fatal(list, err)
			}
			cancel()
		default:
			t.Fatalf("step %d: %v, %v", step, list, err)
		}
	}
	if step != 4 {
		t.Errorf("it ended after %d steps", step)
	}
}

// With an interval, the networks come even if nothing has changed.
func TestWatchEvery(t *testing.T) {
	m := rawmanager.Start(t, "", false, noScript)
	m.SetNetworks([]wire.Network{eth})
	n := 0
	for list, err := range dialer(t, m.Path).Watch(t.Context(), "tcp", time.Millisecond) {
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n := m.Connections(); n != 1 {
		t.Errorf("over %d connections", n)
	}
}

// Without a Dialer, the environment names the manager.
func TestWatchWithoutDialer(t *testing.T) {
	m := rawmanager.Start(t, "", false, noScript)
	m.SetNetworks([]wire.Network{eth})
	t.Setenv("MAMMA_SOCKET", m.Path)
	if list, err := Networks(t.Context()); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	for list, err := range Watch(t.Context()) {
		if err != nil || len(list) != 1 {
			t.Error(list, err)
		}
		break
	}
}
