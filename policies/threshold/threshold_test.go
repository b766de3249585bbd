package threshold

import (
	"math"
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/datagrams"
	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const (
	connect = policy.Connect
	open    = policy.SocketConnect
	choose  = policy.SocketChoose
)

func TestChoose(t *testing.T) {
	a, b, bare := A(), B(), Prefix("bare", "10.0.3.2/24", Default)
	noRate := Prefix("a", "10.0.1.2/24", RTT(20, 25, 0))
	onlyMedian := Prefix("m", "10.0.5.2/24", RTT(0, 25, 0), Down(1000000, 0))
	Run(t, Make(New), []Case{
		{"latency-dominated", Size(Request(connect, a, b), 1000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,,0,,0,,,,40.93,,,a_lowrtt"},
		{"capacity-dominated", Size(Request(open, a, b), 1000000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonCapacity}, "<ts>,1000000,,0,,0,,,,502.73,,,b_highbw"},
		{"TLS", OverTLS(Size(Request(open, a, b), 80000)),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,80000,,0,,0,,,,154.24,,,a_lowrtt"},
		{"TLS is ignored with reuse", OverTLS(Size(Offer(Request(choose, a, b), a), 30000)),
			Answer{Prefix: "a", FD: 5, Alternates: "b", Reason: arrival.ReasonCapacity}, "<ts>,30000,5-,1,,0,,,,52.84,,,a_highbw"},
		{"latency-dominated, reuse", Size(Offer(Request(choose, a, b), b, a), 1000),
			Answer{Prefix: "a", FD: 6, Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,6-,1,5-,1,,,,20.93,,,a_lowrtt"},
		{"capacity of the lowest RTT unknown", Size(Request(open, noRate, b), 10000000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,10000000,,0,,0,,,,-9999999960.00,,,a_lowrtt"},
		{"no minimum known", Size(Request(open, bare, onlyMedian), 1000),
			Answer{Prefix: "m", Alternates: "bare", Reason: arrival.ReasonShortest}, "<ts>,1000,,0,,0,,,,50.00,,,m_highbw"},
		{"nothing known", Size(Request(open, bare), 1000), Answer{Prefix: "bare", Reason: arrival.ReasonNothing}, "<ts>,1000,,0,,,,0.0,0,0,bare_default"},
		{"too short", Size(Offer(Request(choose, onlyMedian, bare), onlyMedian), -1000000000),
			Answer{Prefix: "bare", Alternates: "m", Reason: arrival.ReasonNothing}, "<ts>,-1000000000,5-,1,,0,,,,-999975.00,,,bare_default"},
		{"no size", Request(open, b, a), Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonNoSize}, "<ts>,,,0,,0,,,,a_default"},
		{"single", Size(Request(open, b), 1000000), Answer{Prefix: "b", Reason: arrival.ReasonCapacity}, "<ts>,1000000,,0,,,,502.73,,,b_highbw"},
		{"no prefix", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoDefault}, "<ts>,1000,,,,0.0,0,0,none"},
		{"bound", Size(Bind(Request(open, a, b), b), 1000), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"IPv6", Size(Request(open, A6(), B6()), 1000), Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,,0,,0,,,,40.93,,,a_lowrtt"},
		{"both families", Size(Request(open, b, bare, A6()), 1000),
			Answer{Prefix: "a", Alternates: "b bare", Reason: arrival.ReasonLowRTT}, "<ts>,1000,,0,,0,,0,,,,40.93,,,a_lowrtt"},
		{"configured RTT", Size(Request(open, a, B(Option("srtt_minimum_recent", "5"))), 1000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonLowRTT}, "<ts>,1000,,0,,0,,,,10.16,,,b_lowrtt"},
	})
}

// A stream of datagrams goes where it is heard best, and the prototype's log says nothing
// of it.
func TestStreamOfDatagrams(t *testing.T) {
	p := Make(New)(t)
	r := Request(policy.SocketConnect, A(Quality(2, 0.05)), B(RTT(50, 60, 1), Quality(2, 0)))
	r.Network.Transport = policy.Datagram
	r.Intents = r.Intents.WithCategory(intent.CategoryStream)
	if d := p.Choose(r); Name(d.Prefix) != "b" || d.Reason != datagrams.Reason || Names(d.Alternates) != "a" {
		t.Errorf("%+v", d)
	} else if line := p.(policy.LineLogger).LogLine(r, d); line != "" {
		t.Errorf("logged as %q", line)
	}
	r.Prefixes[1].Options = policy.Options{"download_rate_max_recent": policy.NewOption("1Mbit/s")}
	r.Intents = r.Intents.WithBitrateBitsPerSecond(4_000_000)
	if d := p.Choose(r); Name(d.Prefix) != "a" {
		t.Errorf("more than fits: %+v", d)
	}
	r.Network.Transport = policy.Stream
	if d := p.Choose(r); d.Reason != arrival.ReasonNoSize {
		t.Errorf("over TCP: %s", d.Reason)
	} else if p.(policy.LineLogger).LogLine(r, d) == "" {
		t.Error("the next decision is not logged")
	}
}

// These are the figures that mammactl explain shows.
func TestScores(t *testing.T) {
	d := Make(New)(t).Choose(Size(Request(open, A(), B()), 1000000))
	want := []struct {
		name  string
		value float64
	}{{"min rtt", 20}, {"rtt", 25}, {"free capacity", 1077586}, {"latency part", 40}, {"capacity part", 928}}
	for i, term := range d.Scores[0].Terms {
		if term.Name != want[i].name || math.Round(term.Value) != want[i].value {
			t.Errorf("term %d is %+v, want %+v", i, term, want[i])
		}
	}
	if len(d.Scores[0].Terms) != len(want) || d.Scores[1].Note != "shortest" || d.Scores[0].Note != "" {
		t.Errorf("scores %+v", d.Scores)
	}
	bare := Make(New)(t).Choose(Size(Request(open, Prefix("c", "10.0.3.2/24", Default)), 1000))
	for _, term := range bare.Scores[0].Terms {
		if term.Value == term.Value {
			t.Errorf("%s of a prefix of which nothing is known is %v", term.Name, term.Value)
		}
	}
}
