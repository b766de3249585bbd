package routing

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// large makes a client whose wwan0 has 300 networks, and 2000 routes by its gateway.
func large(t *testing.T) (w *world, networks int) {
	t.Helper()
	w = newWorld(t, testbed.NetworkConfig{Name: "wlan0"}, testbed.NetworkConfig{Name: "wwan0"})
	h := w.Client.Handle()
	link, err := h.LinkByName("wwan0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		a := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>8), byte(i), 2}), 24)
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)
		r := &netlink.Route{LinkIndex: w.Networks[1].Index, Dst: ipNet(p), Gw: w.Networks[1].Gateway4.AsSlice()}
		if err := h.RouteAdd(r); err != nil {
			t.Fatal(err)
		}
	}
	return w, 300
}

// count returns how many routes and rules of ours the kernel has.
func (w *world) count() (routes, rules int) {
	w.t.Helper()
	r, err := w.kernel.routes()
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := w.rules()
	if err != nil {
		w.t.Fatal(err)
	}
	return len(r), len(u)
}

// changes carries out the present plan and returns how much was written.
func (w *world) changes() int {
	w.t.Helper()
	n, err := w.kernel.Apply(w.t.Context(), w.plan())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// With many networks and routes, the kernel gets two rules for each address and one default
// route for each link and family. After a change, only the differences are written.
func TestManyNetworksAndRoutes(t *testing.T) {
	w, networks := large(t)
	// wlan0 and wwan0 have one more network of each family. wwan0's own IPv4 network
	// contains the gateway of all routes.
	const links, families = 2, 2
	wantRoutes, wantRules := links*families, 2*(links*families+networks)
	if n := w.changes(); n != wantRoutes+wantRules {
		t.Errorf("%d changes, want %d", n, wantRoutes+wantRules)
	}
	if routes, rules := w.count(); routes != wantRoutes || rules != wantRules {
		t.Errorf("%d routes and %d rules, want %d and %d", routes, rules, wantRoutes, wantRules)
	}
	w.check("wlan0++ wwan0++ ")
	if n := w.changes(); n != 0 {
		t.Errorf("%d changes without need", n)
	}

	h := w.Client.Handle()
	link, err := h.LinkByName("wwan0")
	if err != nil {
		t.Fatal(err)
	}
	extra := &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("172.31.0.2/24"))}
	if err := h.AddrAdd(link, extra); err != nil {
		t.Fatal(err)
	}
	if n := w.changes(); n != 2 {
		t.Errorf("%d changes for an address more, want 2", n)
	}
	r := &netlink.Route{LinkIndex: w.Networks[1].Index, Dst: ipNet(netip.MustParsePrefix("21.0.0.0/24")), Gw: w.Networks[1].Gateway4.AsSlice()}
	if err := h.RouteAdd(r); err != nil {
		t.Fatal(err)
	}
	if n := w.changes(); n != 0 {
		t.Errorf("%d changes for a route more, which table main has", n)
	}

	if n, err := w.kernel.Apply(t.Context(), Plan{}); err != nil || n != wantRoutes+wantRules+2 || w.ours() != 0 {
		t.Errorf("removed %d, want %d; %d are left, %v", n, wantRoutes+wantRules+2, w.ours(), err)
	}
}

// When the context of a pass ends, the pass ends with the change that is under way. The
// next pass goes on from there.
func TestApplyGivesUp(t *testing.T) {
	w, _ := large(t)
	plan := w.plan()
	all := len(plan.Routes) + len(plan.Rules)
	outdated := errors.New("outdated")
	for _, tt := range []struct {
		plan      Plan
		stopAfter int
	}{{plan, 50}, {plan, 1}, {Plan{}, 7}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		before, n := w.ours(), 0
		w.kernel.wrote = func() {
			if n++; n == tt.stopAfter {
				cancel(outdated)
			}
		}
		changes, err := w.kernel.Apply(ctx, tt.plan)
		cancel(nil)
		if !errors.Is(err, outdated) || changes != tt.stopAfter {
			t.Errorf("%d changes, %v; want %d and that it is outdated", changes, err, tt.stopAfter)
		}
		if diff := w.ours() - before; diff != tt.stopAfter && diff != -tt.stopAfter {
			t.Errorf("%d more entries after %d changes", diff, tt.stopAfter)
		}
	}
	w.kernel.wrote = nil
	if n, err := w.kernel.Apply(t.Context(), plan); err != nil || n != all-50-1+7 {
		t.Errorf("%d changes to finish, %v; want %d", n, err, all-50-1+7)
	}
	if w.ours() != all {
		t.Errorf("%d entries, want %d", w.ours(), all)
	}
}
