package policies

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	"github.com/socket-intents/mamma/policy/policytest"
)

// TestAnyRequest gives every policy sequences of odd requests. Nothing panics, and each
// decision is sound (see sound).
func TestAnyRequest(t *testing.T) {
	for _, name := range All().Names() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				cfg := config(name)
				cfg.Seed = rapid.Uint64().Draw(t, "seed")
				p, err := All().New(name, cfg)
				if err != nil {
					t.Fatal(err)
				}
				host := drawHost(t)
				for range rapid.IntRange(1, 8).Draw(t, "requests") {
					r := drawRequest(t, host)
					d := p.Choose(r)
					sound(t, r, d)
					if l, ok := p.(policy.LineLogger); ok {
						l.LogLine(r, d)
					}
					if c, ok := p.(policy.ResolveChooser); ok {
						r.Kind, r.Sockets = policy.Resolve, nil
						sound(t, r, c.ChooseResolver(r))
					}
				}
				if a, ok := p.(policy.Annotator); ok && len(host) > 0 {
					a.Annotate(host[0])
				}
			})
		})
	}
}

// sound checks what every decision must keep to, and what our own policies promise
// besides: a choice has all other candidates as alternates, and scores, if any, are in
// the order of the candidates.
func sound(t *rapid.T, r *policy.Request, d policy.Decision) {
	if err := policytest.Sound(r, d); err != nil {
		t.Fatal(err)
	}
	if r.Bound.IsValid() && d.Prefix != nil {
		t.Fatalf("a suggestion for a bound socket: %v", d.Prefix)
	}
	if d.Prefix != nil && 1+len(d.Alternates) != len(r.Prefixes) {
		t.Fatalf("%d of %d candidates are named", 1+len(d.Alternates), len(r.Prefixes))
	}
	if len(d.Scores) != 0 && len(d.Scores) != len(r.Prefixes) {
		t.Fatalf("%d scores for %d candidates", len(d.Scores), len(r.Prefixes))
	}
	for i, s := range d.Scores {
		if s.Prefix != r.Prefixes[i] {
			t.Fatalf("score %d is %+v", i, s)
		}
	}
}

// drawHost draws the prefixes of a host, IPv4 before IPv6.
func drawHost(t *rapid.T) []*policy.Prefix {
	var list []*policy.Prefix
	for _, form := range []string{"10.0.%d.2/24", "2001:db8:%d::2/64"} {
		for i := range rapid.IntRange(0, 4).Draw(t, "prefixes") {
			list = append(list, policytest.Prefix(fmt.Sprintf("if%d", i), fmt.Sprintf(form, i), drawFigures(t)))
		}
	}
	return list
}

func drawFigures(t *rapid.T) func(*policy.Prefix) {
	return func(p *policy.Prefix) {
		p.Default = rapid.Bool().Draw(t, "default")
		if rapid.Bool().Draw(t, "measured") {
			rtt := rapid.SampledFrom([]float64{0, 0.00001, 0.5, 20, 400, 1e7})
			rate := rapid.SampledFrom([]policy.BytesPerSecond{0, 0.00001, 1, 1e6, 125e9})
			situation.RTT(rtt.Draw(t, "min"), rtt.Draw(t, "median"), rapid.IntRange(0, 5000).Draw(t, "conns"))(p)
			situation.Down(rate.Draw(t, "max"), rate.Draw(t, "rate"))(p)
			situation.SMA(rate.Draw(t, "1s"), rate.Draw(t, "10s"), rate.Draw(t, "1m"), rate.Draw(t, "10m"))(p)
		}
		names := append(policy.MetricNames(), "category", "minfilesize", "maxfilesize", "min_srtt", "download_max_rate", "penalize_key", "normalize_key", "allowflow", "id")
		for range rapid.IntRange(0, 3).Draw(t, "options") {
			value := rapid.SampledFrom([]string{"0", "-5", "1", "1e-9", "1e308", "1.7976931348623157e308", "", "query", "stream", "num_conns", "srtt_var_mean_within"})
			policytest.Option(rapid.SampledFrom(names).Draw(t, "option"), value.Draw(t, "value"))(p)
		}
	}
}

func drawRequest(t *rapid.T, host []*policy.Prefix) *policy.Request {
	family := rapid.SampledFrom([]policy.Family{policy.Unspecified, policy.IPv4, policy.IPv6}).Draw(t, "family")
	var list []*policy.Prefix
	for _, p := range host {
		if (family == policy.Unspecified || p.Family() == family) && rapid.IntRange(0, 9).Draw(t, "usable") > 0 {
			list = append(list, p)
		}
	}
	r := policytest.Request(rapid.SampledFrom([]policy.Kind{policy.Connect, policy.SocketConnect, policy.SocketChoose}).Draw(t, "kind"), list...)
	r.Network.Family = family
	if rapid.IntRange(0, 3).Draw(t, "datagrams") == 0 {
		r.Network.Transport = policy.Datagram
	}
	r.Service = rapid.SampledFrom([]string{"", "80", "443", "https"}).Draw(t, "service")
	r.Now = policytest.Now().Add(time.Duration(rapid.Int64Range(-1e9, 1e10).Draw(t, "now")))
	r.App.PID = rapid.Uint32Range(0, 2).Draw(t, "pid")
	for range rapid.IntRange(0, 4).Draw(t, "intents") {
		value := rapid.OneOf(rapid.Int64Range(-1, 4), rapid.Int64Range(0, 1e8), rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64}))
		r.Intents = r.Intents.With(intent.Option(rapid.IntRange(1, 7).Draw(t, "intent")), value.Draw(t, "value"))
	}
	elsewhere := policytest.Prefix("z", "192.0.2.1/24")
	on := append(slices.Clone(host), elsewhere)
	if r.Kind == policy.SocketChoose {
		for i := range rapid.IntRange(0, 5).Draw(t, "sockets") {
			s := policy.Socket{FD: int32(i), Multipath: rapid.Bool().Draw(t, "mptcp")}
			if p := rapid.SampledFrom(on).Draw(t, "on"); p != elsewhere {
				s.Local, s.Prefix = p.Addr(), p
			}
			r.Sockets = append(r.Sockets, s)
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "bound") == 0 {
		r.Bound = netip.MustParseAddr("198.51.100.1")
		if p := rapid.SampledFrom(on).Draw(t, "bound to"); p != elsewhere {
			r.Bound, r.BoundPrefix = p.Addr(), p
		}
	}
	return r
}

// BenchmarkChoose decides with four prefixes, for a transfer of 1 MB.
func BenchmarkChoose(b *testing.B) {
	for _, name := range All().Names() {
		b.Run(name, func(b *testing.B) {
			p := newPolicy(b, name)
			sma := situation.SMA(500000, 600000, 700000, 800000)
			r := policytest.Request(policy.SocketConnect,
				situation.A(sma, policytest.Option("category", "query")), situation.B(sma),
				policytest.Prefix("c", "10.0.3.2/24"), policytest.Prefix("d", "10.0.4.2/24", situation.RTT(30, 40, 1), situation.Down(3e6, 1e6), sma))
			r.Intents = intent.Set{}.WithCategory(intent.CategoryBulkTransfer).WithFileSize(1000000).WithBitrateBitsPerSecond(8000000).WithPlayoutBuffer(5 * time.Second)
			b.ReportAllocs()
			for b.Loop() {
				p.Choose(r)
			}
		})
	}
}
