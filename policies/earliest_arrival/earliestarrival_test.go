package earliestarrival

import (
	"testing"
	"time"

	"github.com/socket-intents/mamma/policies/internal/arrival"
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
	a6, b6 := A6(), B6()
	mptcp := Size(Offer(Request(choose, a, b), b, b), 1000000)
	mptcp.Sockets[0].Multipath = true
	Run(t, Make(New), []Case{
		{"large", Size(Request(open, a, b), 1000000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonShortest}, "<ts>,1000000,,0,,0,502.73,0,b_fastest"},
		{"small", Size(Request(connect, a, b), 1000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonShortest}, "<ts>,1000,,0,,0,50.00,0,a_fastest"},
		{"TLS", OverTLS(Size(Request(open, a, b), 60000)),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonShortest}, "<ts>,60000,,0,,0,178.59,0,a_fastest"},
		{"no size", Request(open, b, a),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonNoSize}, "<ts>,,,0,,0,,,,a_default"},
		{"no size, no default", Request(open, b),
			Answer{Reason: shape.ReasonNoDefault}, "<ts>,,,0,,,,none"},
		{"nothing known", Size(Request(open, Prefix("c", "10.0.4.2/24"), bare), 1000),
			Answer{Prefix: "bare", Alternates: "c", Reason: arrival.ReasonNothing}, "<ts>,1000,,0,,0,0.0,bare_default"},
		{"default unknown", Size(Request(open, bare, b), 1000),
			Answer{Prefix: "b", Alternates: "bare", Reason: arrival.ReasonShortest}, "<ts>,1000,,0,,0,120.00,0,b_fastest"},
		{"alternates by time, unknown ones last", Size(Request(open, Prefix("c", "10.0.4.2/24"), bare, b, a), 1000),
			Answer{Prefix: "a", Alternates: "b bare c", Reason: arrival.ReasonShortest}, "<ts>,1000,,0,,0,,0,,0,50.00,0,a_fastest"},
		{"single", Size(Request(open, b), 1000), Answer{Prefix: "b", Reason: arrival.ReasonShortest}, "<ts>,1000,,0,120.00,0,b_fastest"},
		{"no prefix", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoDefault}, "<ts>,1000,0.0,none"},
		{"negative size", Size(Offer(Request(choose, a), a), -1000000000),
			Answer{Prefix: "a", FD: 5, Reason: arrival.ReasonNothing}, "<ts>,-1000000000,5-,1,-927975.00,0,a_default"},
		{"reuse", Size(Offer(Request(choose, a, b), a), 300000),
			Answer{Prefix: "a", FD: 5, Alternates: "b", Reason: arrival.ReasonShortest}, "<ts>,300000,5-,1,,0,303.40,0,a_fastest"},
		{"reuse no MPTCP socket", mptcp,
			Answer{Prefix: "b", FD: 6, Alternates: "a", Reason: arrival.ReasonShortest}, "<ts>,1000000,,0,5-6-,2,220.00,0,b_fastest"},
		{"reuse without size", Offer(Request(choose, a, b), b, a),
			Answer{Prefix: "a", FD: 6, Alternates: "b", Reason: arrival.ReasonNoSize}, "<ts>,,6-,1,5-,1,,,,a_default"},
		{"bound", Size(Bind(Request(open, a, b), b), 1000), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"bound, reuse", Bind(Offer(Request(choose, a, b), a, b), b), Answer{FD: 6, Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"bound outside", Bind(Offer(Request(choose, a, b), a, b), Prefix("z", "192.0.2.1/24")),
			Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"IPv6", Size(Request(open, a6, b6), 1000000), Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonShortest}, "<ts>,1000000,,0,,0,502.73,0,b_fastest"},
		{"both families", Size(Request(open, a, bare, b6), 1000000),
			Answer{Prefix: "b", Alternates: "a bare", Reason: arrival.ReasonShortest}, "<ts>,1000000,,0,,0,,0,502.73,0,b_fastest"},
	})
}

func TestScores(t *testing.T) {
	d := Make(New)(t).Choose(Size(Request(open, A(), B(), Prefix("c", "10.0.3.2/24")), 1000000))
	if got, want := d.Scores[1].Predicted.Round(time.Microsecond), 502728*time.Microsecond; got != want || d.Scores[1].Note != "shortest" {
		t.Errorf("predicted %v, note %q", got, d.Scores[1].Note)
	}
	if d.Scores[2].Predicted != 0 {
		t.Errorf("a prediction of %v out of nothing", d.Scores[2].Predicted)
	}
	rtt, capacity := d.Scores[0].Terms[0], d.Scores[0].Terms[1]
	if rtt.Value != 25 || rtt.Unit != policy.Milliseconds || !rtt.Time.Equal(Now()) || int(capacity.Value) != 1077586 {
		t.Errorf("terms %+v", d.Scores[0].Terms)
	}
	if v := d.Scores[2].Terms[0].Value; v == v {
		t.Errorf("unknown RTT is %v", v)
	}
}

func TestScoresOutliveTheNextDecision(t *testing.T) {
	p := Make(New)(t)
	d := p.Choose(Size(Request(open, A(), B()), 1000000))
	predicted, term := d.Scores[0].Predicted, d.Scores[0].Terms[1].Value
	p.Choose(Size(Request(open, B(), A()), 1000))
	if d.Scores[0].Predicted != predicted || d.Scores[0].Terms[1].Value != term || Names(d.Alternates) != "a" {
		t.Error("the next decision overwrote the last one")
	}
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{Settings: Settings(`policy "earliest_arrival"`, "foo=1")})
	Refused(t, err, `unknown setting "foo"`)
	_, err = New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "srtt_median_recent=fast", "min_srtt=1")})
	Refused(t, err, "srtt_median_recent", "must be a number", `unknown setting "min_srtt"`)
	p, err := New(policy.Config{
		Settings:       Settings(`policy "earliest_arrival"`, "logfile=ea.log"),
		PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "srtt_median_recent=12.5", "utilization_threshold=80"),
	})
	if err != nil || p.(policy.LineLogger).LogFile() != "ea.log" {
		t.Errorf("%v, %v", p, err)
	}
}
