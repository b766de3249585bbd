package pathmanager

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/internal/network/mptcp"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

func checkEndpoints(t *testing.T, k *kernel, want ...mptcp.Endpoint) {
	t.Helper()
	if diff := cmp.Diff(want, k.endpoints, comparer, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("endpoints (-want +got)\n%s", diff)
	}
}

// keep makes a keeper.
func keep(t *testing.T, k *kernel, h *host, m *memory) *keeper {
	t.Helper()
	keep, err := newKeeper(k, h, m, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return keep
}

func TestKeeper(t *testing.T) {
	wlan, wwan := prefix("wlan0", 2, "10.1.0.2/24"), prefix("wwan0", 3, "10.2.0.2/24", metered)
	eth, six := prefix("eth0", 4, "10.3.0.2/24"), prefix("eth0", 4, "2001:db8::2/64")
	foreign := mptcp.Endpoint{ID: 7, Addr: netip.MustParseAddr("10.9.0.1"), Flags: mptcp.FlagSubflow}
	k := &kernel{limits: mptcp.Limits{AddAddrs: 1, Subflows: 2}, endpoints: []mptcp.Endpoint{foreign}}
	h := newHost(wlan, wwan)
	keep := keep(t, k, h, &memory{})
	sync := func() {
		t.Helper()
		if err := keep.sync(start); err != nil {
			t.Error(err)
		}
	}
	one := mptcp.Endpoint{ID: 8, Addr: wlan.Addr(), Flags: mptcp.FlagSubflow}
	two := mptcp.Endpoint{ID: 9, Addr: wwan.Addr(), Flags: mptcp.FlagSubflow | mptcp.FlagBackup, Index: 3}
	sync()
	checkEndpoints(t, k, foreign, one, two)
	if k.limits != (mptcp.Limits{AddAddrs: 1, Subflows: 3}) {
		t.Errorf("limits %+v", k.limits)
	}
	sync() // again: nothing
	checkEndpoints(t, k, foreign, one, two)

	// A network that no longer costs anything is not a backup. Another network comes.
	h.set(wlan, prefix("wwan0", 3, "10.2.0.2/24"), eth, six)
	two.Flags = mptcp.FlagSubflow
	three := mptcp.Endpoint{ID: 10, Addr: eth.Addr(), Flags: mptcp.FlagSubflow}
	four := mptcp.Endpoint{ID: 11, Addr: six.Addr(), Flags: mptcp.FlagSubflow}
	sync()
	checkEndpoints(t, k, foreign, one, two, three, four)
	if k.limits.Subflows != 5 {
		t.Errorf("limits %+v", k.limits)
	}

	// Three networks go: one has left the host, one is down, and one is vetoed by the
	// policy.
	h.chooser.choose = func(r *policy.SubflowRequest) []policy.Subflow {
		if !r.All() {
			t.Errorf("asked about one connection: %+v", r)
		}
		return policy.DefaultSubflows(&policy.SubflowRequest{Prefixes: r.Prefixes[1:]})
	}
	h.set(wlan, prefix("wwan0", 3, "10.2.0.2/24"), prefix("eth0", 4, "10.3.0.2/24", down))
	sync()
	checkEndpoints(t, k, foreign, two)

	// A policy that cannot be asked changes nothing.
	h.chooser.choose = func(*policy.SubflowRequest) []policy.Subflow { panic("no") }
	if err := keep.sync(start); err == nil {
		t.Error("no error")
	}
	checkEndpoints(t, k, foreign, two)

	if err := keep.end(); err != nil {
		t.Error(err)
	}
	checkEndpoints(t, k, foreign)
	if k.limits != (mptcp.Limits{AddAddrs: 1, Subflows: 2}) {
		t.Errorf("limits after the end: %+v", k.limits)
	}
}

// If somebody else has an endpoint for one of our addresses, it stays as it is. If the
// kernel has made one by itself, it is replaced.
func TestKeeperLeavesOthersAlone(t *testing.T) {
	wlan, wwan := prefix("wlan0", 2, "10.1.0.2/24"), prefix("wwan0", 3, "10.2.0.2/24")
	foreign := mptcp.Endpoint{ID: 1, Addr: wlan.Addr(), Flags: mptcp.FlagSignal}
	k := &kernel{limits: mptcp.Limits{Subflows: 4}, endpoints: []mptcp.Endpoint{foreign, {ID: 2, Addr: wwan.Addr(), Flags: mptcp.FlagImplicit}}}
	keep := keep(t, k, newHost(wlan, wwan), &memory{})
	if err := keep.sync(start); err != nil {
		t.Fatal(err)
	}
	own := mptcp.Endpoint{ID: 2, Addr: wwan.Addr(), Flags: mptcp.FlagSubflow, Index: 3}
	checkEndpoints(t, k, foreign, own)
	// Somebody deletes our endpoint and adds another one for the address. Now it is theirs.
	other := mptcp.Endpoint{ID: 40, Addr: wwan.Addr(), Flags: mptcp.FlagSubflow | mptcp.FlagFullmesh}
	k.endpoints = []mptcp.Endpoint{foreign, other}
	k.limits.Subflows = 8
	if err := errors.Join(keep.sync(start), keep.end()); err != nil {
		t.Fatal(err)
	}
	checkEndpoints(t, k, foreign, other)
	if k.limits.Subflows != 8 {
		t.Errorf("limits %+v", k.limits)
	}
}

func TestKeeperRefused(t *testing.T) {
	k := &kernel{refuse: errRefused}
	keep := keep(t, k, newHost(prefix("wlan0", 2, "10.1.0.2/24")), &memory{})
	if err := keep.sync(start); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	k.refuse = nil
	if err := keep.sync(start); err != nil || len(k.endpoints) != 1 {
		t.Errorf("%v, %v", err, k.endpoints)
	}
}

// If the kernel has no room for more endpoints, the networks without one are named, once,
// and the others have theirs.
func TestKeeperFull(t *testing.T) {
	var log strings.Builder
	var nets []*policy.Prefix
	for i := range 10 {
		nets = append(nets, prefix(fmt.Sprintf("usb%d", i), i+2, fmt.Sprintf("10.%d.0.2/24", i)))
	}
	h := newHost(nets...)
	fake := &kernel{room: mptcp.MaxEndpoints}
	k, err := newKeeper(fake, h, &memory{}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := k.sync(start); err != nil {
			t.Fatal(err)
		}
	}
	if len(fake.endpoints) != mptcp.MaxEndpoints || fake.limits.Subflows != mptcp.MaxSubflows {
		t.Errorf("%d endpoints, limits %+v", len(fake.endpoints), fake.limits)
	}
	want := []policy.PrefixID{nets[8].ID, nets[9].ID}
	if got := *k.without.Load(); !slices.Equal(got, want) {
		t.Errorf("without endpoint: %v, want %v", got, want)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), want[0].String()) || !strings.Contains(log.String(), want[1].String()) {
		t.Errorf("said:\n%s", log.String())
	}
	// When one network goes, another takes its place.
	h.set(nets[1:]...)
	if err := k.sync(start); err != nil {
		t.Fatal(err)
	}
	if got := *k.without.Load(); !slices.Equal(got, want[1:]) {
		t.Errorf("without endpoint after one has gone: %v", got)
	}
	h.set(nets[2:]...)
	if err := k.sync(start); err != nil || len(*k.without.Load()) > 0 || !strings.Contains(log.String(), "all networks have") {
		t.Errorf("%v, without endpoint: %v\n%s", err, *k.without.Load(), log.String())
	}
}

// For each policy that may have vetoes for single connections, the log says once that these
// do not hold.
func TestKeeperTellsOfVetoes(t *testing.T) {
	var log strings.Builder
	h := newHost(prefix("wlan0", 2, "10.1.0.2/24"))
	k, err := newKeeper(&kernel{}, h, &memory{}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		policy policy.Policy
		want   int
	}{
		{"one that chooses", &h.chooser, 1},
		{"one without opinion", opinionless{}, 1},
		{"another one that chooses", &h.chooser, 2},
	} {
		h.runner = mam.NewRunner(tt.name, tt.policy, quiet)
		h.set()
		for range 3 {
			if err := k.sync(start); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(log.String(), "cannot veto"); n != tt.want {
			t.Errorf("%s: said %d times, want %d", tt.name, n, tt.want)
		}
	}
}

// opinionless is a policy that leaves subflows to the default.
type opinionless struct{}

func (opinionless) Choose(*policy.Request) policy.Decision { return policy.Decision{} }
