package policies

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// leasing lists the policies that grant leases.
var leasing = []string{
	"adaptive", "earliest_arrival", "earliest_arrival_free_or_busy", "earliest_arrival_static", "filesize", "intents", "sample", "score", "threshold",
}

// TestLeasesHold draws a request, and then others for which its lease says the same.
// The policy, if it is asked about these, must decide as the lease says.
func TestLeasesHold(t *testing.T) {
	for _, name := range leasing {
		t.Run(name, func(t *testing.T) {
			granted := 0
			rapid.Check(t, func(t *rapid.T) {
				cfg := config(name)
				if name == "score" {
					cfg.Settings = drawRule(t)
				}
				p, err := All().New(name, cfg)
				if err != nil {
					t.Fatal(err)
				}
				host := drawHost(t)
				for range rapid.IntRange(0, 4).Draw(t, "before") {
					p.Choose(drawRequest(t, host))
				}
				r := drawRequest(t, host)
				r.Host = rapid.SampledFrom([]string{"a.example", "b.example"}).Draw(t, "host")
				first := p.Choose(r)
				l := first.Lease
				if l.For == 0 || r.Bound.IsValid() {
					return
				}
				granted++
				uses := 4
				if l.Uses > 0 {
					uses = int(min(l.Uses, 20))
				}
				now := r.Now
				for range uses {
					now = now.Add(time.Duration(rapid.Int64Range(0, int64(l.For)/int64(uses)).Draw(t, "later")))
					again := drawAlike(t, r, &l)
					again.Now = now
					if !l.Alike(r.Intents, again.Intents) {
						t.Fatalf("%v is not alike %v by %+v", again.Intents, r.Intents, l)
					}
					decided := p.Choose(again)
					equal(t, first, decided)
					// Transfers that adaptive has placed elsewhere end after a while,
					// which may change the order of the alternates.
					if name != "adaptive" && !slices.Equal(first.Alternates, decided.Alternates) {
						t.Fatalf("leased alternates %s, decided %s", policytest.Names(first.Alternates), policytest.Names(decided.Alternates))
					}
				}
			})
			if granted == 0 {
				t.Error("no lease was granted")
			}
		})
	}
}

// TestNoLeases shows that policies grant no lease if they count every request or draw
// at random.
func TestNoLeases(t *testing.T) {
	for _, name := range All().Names() {
		if slices.Contains(leasing, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				p, err := All().New(name, config(name))
				if err != nil {
					t.Fatal(err)
				}
				if l := p.Choose(drawRequest(t, drawHost(t))).Lease; l != (policy.Lease{}) {
					t.Fatalf("%+v", l)
				}
			})
		})
	}
}

// drawRule draws a rule for policy score.
func drawRule(t *rapid.T) []policy.Setting {
	rule := rapid.SampledFrom([]string{
		"minimize=or_else(completion_time(), prefix.srtt_median_recent)",
		`maximize=(known(intent.category) && intent.category == "query" ? or_else(-prefix.srtt_minimum_recent, -1e6) : link.free_capacity)`,
		`minimize=(request.host == "a.example" ? 1 : 0) * or_else(prefix.srtt_minimum_recent, 1) + (prefix.default ? 0 : 1)`,
		"maximize=prefix.idle_sockets",
		"minimize=or_else(intent.duration, 3) > 5 ? or_else(prefix.srtt_minimum_recent, 0) : or_else(-prefix.srtt_minimum_recent, 0)",
	}).Draw(t, "rule")
	settings := []string{rule}
	if rapid.Bool().Draw(t, "requires") {
		settings = append(settings, rapid.SampledFrom([]string{
			"require=or_else(prefix.srtt_minimum_recent, 100) < 300", "require=or_else(intent.bitrate, 1) < 3 || prefix.default",
		}).Draw(t, "requirement"))
	}
	return policytest.Settings(`policy "score"`, settings...)
}

// drawAlike draws a request that the lease of the decision on r covers.
func drawAlike(t *rapid.T, r *policy.Request, l *policy.Lease) *policy.Request {
	again := *r
	if l.AnyName {
		again.Host = rapid.SampledFrom([]string{"a.example", "b.example", "c.example"}).Draw(t, "other host")
	}
	for _, o := range intent.Options() {
		if o == intent.OptFileSize && !l.Sizes.IsZero() {
			again.Intents = again.Intents.With(o, rapid.Int64Range(l.Sizes.From, l.Sizes.To).Draw(t, "size"))
		} else if l.Ignored.Has(o) && rapid.Bool().Draw(t, "another value") {
			again.Intents = again.Intents.With(o, rapid.Int64Range(-1, 1e7).Draw(t, "value"))
		}
	}
	// There may be more idle sockets on networks that have some, but none on others.
	again.Sockets = slices.Clone(r.Sockets)
	for range rapid.IntRange(0, 2).Draw(t, "more sockets") {
		if len(r.Sockets) == 0 {
			break
		}
		s := rapid.SampledFrom(r.Sockets).Draw(t, "like")
		s.FD += 100
		again.Sockets = append(again.Sockets, s)
	}
	return &again
}

// equal compares two decisions as they matter for a client that follows the first in
// place of the second.
func equal(t *rapid.T, a, b policy.Decision) {
	if a.Prefix != b.Prefix || a.Only != b.Only || a.Multipath != b.Multipath || a.Resolution != b.Resolution || a.Race != b.Race {
		t.Fatalf("leased %+v\ndecided %+v", policytest.AnswerOf(a), policytest.AnswerOf(b))
	}
	if (a.Socket == nil) != (b.Socket == nil) || a.Socket != nil && (a.Socket.Local != b.Socket.Local || a.Socket.Multipath != b.Socket.Multipath) {
		t.Fatalf("leased socket %+v, decided %+v", a.Socket, b.Socket)
	}
	if len(a.Alternates) != len(b.Alternates) {
		t.Fatalf("leased alternates %s, decided %s", policytest.Names(a.Alternates), policytest.Names(b.Alternates))
	}
}

// If the networks are known and differ much, the small objects of a page follow the
// first decision.
func TestAdaptiveLeasesSmallTransfers(t *testing.T) {
	p := newPolicy(t, "adaptive")
	near := policytest.Prefix("near", "10.0.1.2/24", policytest.Default, situation.RTT(10, 12, 3), situation.Down(5e6, 0), situation.SMA(4e6, 4e6, 4e6, 4e6))
	far := policytest.Prefix("far", "10.0.2.2/24", situation.RTT(400, 420, 3), situation.Down(5e6, 0), situation.SMA(4e6, 4e6, 4e6, 4e6))
	r := policytest.Request(policy.SocketConnect, near, far)
	r.Intents = intent.Set{}.WithFileSize(2000)
	d := p.Choose(r)
	if d.Prefix != near || d.Lease.For == 0 || d.Lease.Uses == 0 || !d.Lease.Measured {
		t.Errorf("%s, %+v", policytest.Name(d.Prefix), d.Lease)
	}
	r.Intents = r.Intents.WithFileSize(5e6)
	if d := p.Choose(r); d.Lease.For != 0 {
		t.Errorf("a lease for large transfers: %+v", d.Lease)
	}
	r.Prefixes = r.Prefixes[:1]
	if d := p.Choose(r); d.Lease.For == 0 || d.Lease.Measured {
		t.Errorf("the only prefix: %+v", d.Lease)
	}
}

// Little is tried over a network over which nothing has come yet. A lease does not let
// clients try more there than the policy would.
func TestAdaptiveLeasesNoTrial(t *testing.T) {
	p := newPolicy(t, "adaptive")
	near := policytest.Prefix("near", "10.0.1.2/24", situation.RTT(1, 1, 0))
	far := policytest.Prefix("far", "10.0.2.2/24", policytest.Default, situation.RTT(400, 400, 0))
	r := policytest.Request(policy.SocketConnect, near, far)
	r.Intents = intent.Set{}.WithCategory(intent.CategoryQuery)
	left := false
	for range 16 {
		d := p.Choose(r)
		if d.Prefix == near && d.Lease.For != 0 {
			t.Fatalf("a lease over the untried network: %+v", d.Lease)
		}
		left = left || d.Prefix == far
	}
	if !left {
		t.Error("all of them tried the network")
	}
}

// A rule that counts connections decides about one connection only.
func TestRulesThatCountHaveNoLeases(t *testing.T) {
	for _, rule := range []string{"minimize=prefix.user_connections", "minimize=prefix.default ? or_else(lowest_rtt.program_connections, 0) : 1"} {
		cfg := config("score")
		cfg.Settings = policytest.Settings(`policy "score"`, rule)
		p, err := All().New("score", cfg)
		if err != nil {
			t.Fatal(err)
		}
		if l := p.Choose(policytest.Request(policy.SocketConnect, situation.A(), situation.B())).Lease; l != (policy.Lease{}) {
			t.Errorf("%s: %+v", rule, l)
		}
	}
}
