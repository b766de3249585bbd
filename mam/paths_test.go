package mam

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

func TestMicroseconds(t *testing.T) {
	now := time.Now()
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		stats policy.PathStats
		want  uint32
	}{
		{"unknown", policy.PathStats{}, 0},
		{"median", policy.PathStats{SRTTMedian: 12 * ms, SRTTMin: 9 * ms, SampleTime: now}, 12_000},
		{"minimum alone", policy.PathStats{SRTTMin: 9 * ms}, 9_000},
		{"ten minutes old", policy.PathStats{SRTTMedian: 12 * ms, SampleTime: now.Add(-pathAge)}, 12_000},
		{"older", policy.PathStats{SRTTMedian: 12 * ms, SampleTime: now.Add(-pathAge - 1)}, 0},
		{"below a microsecond", policy.PathStats{SRTTMedian: 10}, 1},
		{"beyond what travels", policy.PathStats{SRTTMedian: 3 * time.Hour}, 1<<32 - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := microseconds(&test.stats, now); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

// measured returns a host whose paths differ in everything that clients are told about
// them.
func measured() *View {
	v := host(takeFirst)
	for i, rtt := range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 0, 41 * time.Millisecond} {
		v.Prefixes[i].Stats.SRTTMedian = rtt
	}
	v.Prefixes[1].Health.State = policy.Suspect
	v.Destinations = known{v.Prefixes[0].ID, netip.MustParseAddr("192.0.2.4"), policy.PathStats{SRTTMedian: 25 * time.Millisecond}}
	v.Avoid = map[uint32][]policy.PrefixID{uint32(os.Getuid()): {v.Prefixes[3].ID}}
	v.Prefixes = append(v.Prefixes[:2:2], v.Prefixes[3]) // the only one with IPv6
	return v
}

func up(rtt uint32) wire.Path { return wire.Path{Microseconds: rtt, Health: wire.PathUp} }

func suspect(rtt uint32) wire.Path { return wire.Path{Microseconds: rtt, Health: wire.PathSuspect} }

// Clients that ask for it are told what is known about each candidate's path.
func TestPaths(t *testing.T) {
	d := start(t, measured(), Options{})
	decide := func(host string) *wire.Message {
		m := socketConnectTo(host, "443")
		m.NoResolve = true
		return m
	}
	bound := decide("192.0.2.4")
	bound.Context.BindRequested = sockAddr("10.77.2.1:0")
	resolve := func(from string) *wire.Message {
		return &wire.Message{Action: wire.ActionResolveRequest, Context: wire.Context{
			Hostname: "four.test", Service: "443", Hint: []wire.AddrInfo{{Type: wire.SockStream}}, BindSuggested: sockAddr(from),
		}}
	}
	claims := decide("192.0.2.4")
	claims.Paths = []wire.Path{{Microseconds: 1}, {Microseconds: 2}, {Microseconds: 3}}
	const extended = wire.FeatureAlternates | wire.FeatureNoResolve
	for _, test := range []struct {
		name     string
		features wire.Features
		req      *wire.Message
		want     []wire.Path
	}{
		{"by name", extended | wire.FeaturePaths, decide("four.test"),
			[]wire.Path{up(10_000), suspect(40_000), suspect(41_000)}},
		{"by address", extended | wire.FeaturePaths, decide("192.0.2.4"), []wire.Path{up(25_000), suspect(40_000)}},
		{"what a client says itself is dropped", extended | wire.FeaturePaths, claims, []wire.Path{up(25_000), suspect(40_000)}},
		{"bound by the application", extended | wire.FeaturePaths, bound, []wire.Path{suspect(40_000)}},
		{"no choice", extended | wire.FeaturePaths, decide("127.0.0.1"), nil},
		{"resolution", extended | wire.FeaturePaths, resolve("10.77.1.1:0"), []wire.Path{up(25_000)}},
		{"not asked for", extended, claims, nil},
		{"no extensions", 0, claims, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.req.Features = test.features
			if diff := cmp.Diff(test.want, d.dial(t).ask(test.req).Paths); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Clients that ask for it are told the cost of each candidate.
func TestCosts(t *testing.T) {
	v := measured()
	v.Prefixes[1].Cost, v.Prefixes[1].Budget = policy.Metered, policy.Budget{Limit: 5e9, Used: 2e9}
	v.Prefixes[2].Cost, v.Prefixes[2].Budget = policy.Expensive, policy.Budget{Limit: 5e9, Used: 6e9}
	d := start(t, v, Options{})
	free := wire.Cost{Left: wire.NoBudget}
	metered, expensive := wire.Cost{Cost: wire.CostMetered, Left: 3e9}, wire.Cost{Cost: wire.CostExpensive}
	for _, test := range []struct {
		name     string
		features wire.Features
		host     string
		bound    string
		want     []wire.Cost
	}{
		{"all", wire.FeatureAlternates | wire.FeatureCosts, "four.test", "", []wire.Cost{free, metered, expensive}},
		{"bound by the application", wire.FeatureAlternates | wire.FeatureCosts, "four.test", "10.77.2.1:0", []wire.Cost{metered}},
		{"no choice", wire.FeatureAlternates | wire.FeatureCosts, "127.0.0.1", "", nil},
		{"not asked for", wire.FeatureAlternates, "four.test", "", nil},
		{"no extensions", 0, "four.test", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := socketConnectTo(test.host, "443")
			m.NoResolve, m.Features = true, test.features
			m.Costs = []wire.Cost{{Cost: 1, Left: 1}} // what a client itself sends is dropped
			if test.bound != "" {
				m.Context.BindRequested = sockAddr(test.bound)
			}
			if diff := cmp.Diff(test.want, d.dial(t).ask(m).Costs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The decision's record says for whom the client has asked. The outcome's says that the
// client got plain TCP.
func TestOrigin(t *testing.T) {
	d := start(t, host(takeFirst), Options{})
	c := d.dial(t)
	ask := func(f wire.Features, o *wire.Origin) (Record, uuid.UUID) {
		m := socketConnectTo("four.test", "443")
		m.Features, m.Origin = f, o
		got := c.ask(m)
		if got.Origin != nil {
			t.Errorf("the answer repeats %+v", got.Origin)
		}
		recs := d.Decisions().Since(0)
		return recs[len(recs)-1], got.DecisionID
	}
	curl := &wire.Origin{UID: 1000, PID: 4121, Command: "curl", Source: "rule downloads"}
	rec, id := ask(everything, curl)
	if diff := cmp.Diff(&Origin{UID: 1000, PID: 4121, Command: "curl", Source: "rule downloads"}, rec.Origin); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if rec.App.UID != uint32(os.Getuid()) {
		t.Errorf("user %d asked, want this one, whatever is claimed", rec.App.UID)
	}
	if other, _ := ask(everything, nil); other.Origin != nil {
		t.Errorf("origin %+v of another request", other.Origin)
	}
	if other, _ := ask(0, curl); other.Origin != nil {
		t.Errorf("origin %+v of a client that did not announce it", other.Origin)
	}
	for _, flags := range []wire.OutcomeFlags{wire.OutcomePlainTCP, 0, 1 << 15} {
		c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: everything, DecisionID: id, Outcome: &wire.Outcome{Flags: flags}})
		rec, _ := d.Decisions().Get(id)
		if want := flags == wire.OutcomePlainTCP; rec.Outcome == nil || rec.Outcome.PlainTCP != want {
			t.Errorf("flags %#x: outcome %+v, want plain TCP %v", flags, rec.Outcome, want)
		}
	}
}
