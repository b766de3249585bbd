package earliestarrivalprobabilities

import (
	"math"
	"testing"

	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const open, choose = policy.SocketConnect, policy.SocketChoose

// fixed returns a policy whose random number is always the same.
func fixed(random float64) func(*testing.T) policy.Policy {
	return func(t *testing.T) policy.Policy {
		p := Make(New)(t).(*Policy)
		p.Random = func() float64 { return random }
		return p
	}
}

func TestChoose(t *testing.T) {
	a, b, bare := A(), B(), Prefix("c", "10.0.3.2/24", Default)
	const drawn = "capacity-dominated, drawn by predicted time"
	Run(t, fixed(0.25), []Case{
		{"drawn", Size(Request(open, a, b), 1000000),
			Answer{Prefix: "b", Alternates: "a", Reason: drawn}, "<ts>,1000000,,0,,0,0.223014,0.776986,0.250000,502.73,1,0,b_probs"},
		{"one prediction: columns are missing", Size(Request(open, bare, b), 1000000),
			Answer{Prefix: "b", Alternates: "c", Reason: drawn}, "<ts>,1000000,,0,,0,502.73,1,0,b_probs"},
		{"latency-dominated", Size(Request(open, a, b), 12000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,12000,,0,,0,,,,49.60,0,1,a_lowrtt"},
		{"latency part without TLS", OverTLS(Size(Request(open, a, b), 60000)),
			Answer{Prefix: "a", Alternates: "b", Reason: drawn}, "<ts>,60000,,0,,0,0.668411,0.331589,0.250000,178.59,1,0,a_probs"},
		{"reuse", Size(Offer(Request(choose, a, b), b), 1000000),
			Answer{Prefix: "b", FD: 5, Alternates: "a", Reason: drawn}, "<ts>,1000000,,0,5-,1,0.111589,0.888411,0.250000,220.00,1,0,b_probs"},
		{"negative times are not drawn", Size(Offer(Request(choose, A()), A()), -1000000000),
			Answer{Prefix: "a", FD: 5, Reason: arrival.ReasonLowRTT}, "<ts>,-1000000000,5-,1,,,,-799980.00,0,1,a_lowrtt"},
		{"nothing known", Size(Request(open, bare), 1000), Answer{Prefix: "c", Reason: arrival.ReasonNothing}, "<ts>,1000,,0,,,,0.0,0,0,c_default"},
		{"no size", Request(open, b, a), Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonNoSize}, "<ts>,,,0,,0,,,,a_default"},
		{"no prefix", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoDefault}, "<ts>,1000,,,,0.0,0,0,none"},
		{"bound", Size(Bind(Request(open, a, b), b), 1000), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"both families", Size(Request(open, a, B6()), 1000000),
			Answer{Prefix: "b", Alternates: "a", Reason: drawn}, "<ts>,1000000,,0,,0,0.223014,0.776986,0.250000,502.73,1,0,b_probs"},
	})
}

func TestPenalty(t *testing.T) {
	variation := func(ms float64) func(*policy.Prefix) {
		return func(p *policy.Prefix) { p.Stats.RTTVarMean = Milliseconds(ms) }
	}
	for _, tt := range []struct {
		name string
		a, b []func(*policy.Prefix)
		want float64 // probability of prefix a
	}{
		{"none", nil, nil, 0.223014},
		{"RTT variation by default", []func(*policy.Prefix){variation(4)}, []func(*policy.Prefix){variation(12)}, 0.462675},
		{"normalized", []func(*policy.Prefix){variation(4), Option("normalize_key", "srtt_median_recent")}, []func(*policy.Prefix){variation(12)}, 0.264046},
		{"the second one's settings do not count", []func(*policy.Prefix){variation(4)},
			[]func(*policy.Prefix){variation(12), Option("normalize_key", "srtt_median_recent"), Option("penalize_key", "num_conns")}, 0.462675},
		{"unknown metric, as the original's grammar lets pass", []func(*policy.Prefix){variation(4), Option("penalize_key", "nonsense")}, []func(*policy.Prefix){variation(12)}, 0.223014},
		{"normalizing metric of 0", []func(*policy.Prefix){variation(4), Option("normalize_key", "packet_loss_up_median")}, []func(*policy.Prefix){variation(12)}, 0.462675},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := fixed(0)(t).Choose(Size(Request(open, A(tt.a...), B(tt.b...)), 1000000))
			terms := d.Scores[0].Terms
			if got := terms[len(terms)-1]; got.Unit != policy.Probability || math.Abs(got.Value-tt.want) > 1e-6 {
				t.Errorf("probability %v, want %v", got.Value, tt.want)
			}
		})
	}
}

// Over many draws each prefix gets its share. The same seed gives the same draws.
func TestSeed(t *testing.T) {
	draws := func(seed uint64) (n int, sequence string) {
		made, err := New(policy.Config{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		p := made.(*Policy)
		for range 2000 {
			name := Name(p.Choose(Size(Request(open, A(), B()), 1000000)).Prefix)
			if sequence += name; name == "a" {
				n++
			}
		}
		return n, sequence
	}
	n, first := draws(1)
	if n < 380 || n > 510 { // 446 expected, standard deviation 19
		t.Errorf("a was drawn %d times of 2000, its probability is 0.223", n)
	}
	if _, again := draws(1); again != first {
		t.Error("the same seed draws otherwise")
	}
	if _, other := draws(2); other == first {
		t.Error("another seed draws alike")
	}
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "penalize_key=jitter")})
	Refused(t, err, "penalize_key", `"jitter"`, "srtt_var_mean_within")
	if _, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "penalize_key=num_conns", "normalize_key=tx_rate")}); err != nil {
		t.Error(err)
	}
}
