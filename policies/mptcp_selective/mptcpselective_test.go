package mptcpselective

import (
	"testing"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policies/internal/streaming"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const (
	connect = policy.Connect
	open    = policy.SocketConnect
	choose  = policy.SocketChoose
)

// bulk makes r a request for a segment at a bit rate, with a play-out buffer in
// milliseconds.
func bulk(r *policy.Request, bitrate, buffer int64) *policy.Request {
	r.Intents = r.Intents.WithCategory(intent.CategoryBulkTransfer).WithBitrateBitsPerSecond(bitrate).With(intent.OptDuration, buffer)
	return r
}

func as(r *policy.Request, c intent.Category) *policy.Request {
	r.Intents = r.Intents.WithCategory(c)
	return r
}

func TestChoose(t *testing.T) {
	a, b, bare := A(SMA(0, 500000, 0, 0)), B(SMA(0, 2000000, 0, 0)), Prefix("c", "10.0.3.2/24", Default)
	noRTT := Prefix("n", "10.0.4.2/24", SMA(0, 500000, 0, 0))
	sockets := bulk(Offer(Request(choose, a, b), b, a, a), 800000, 5000)
	sockets.Sockets[2].Multipath = true
	Run(t, Make(New), []Case{
		{"enough in 8 s", bulk(Request(open, b, bare, a), 7000000, 5000), // 3.5 MB
			Answer{Prefix: "a", Alternates: "b c", Multipath: true, Reason: reasonEnough}, "<ts>,,,,,,,,1,-1,7000000,5000,mptcp,enough"},
		{"a connect has no buffer", bulk(Request(connect, b, a), 7000000, 5000),
			Answer{Prefix: "b", Alternates: "a", Reason: reasonOnlyHigh}, "b,onlyhigh"},
		{"enough in 4 s", bulk(Request(connect, a, b), 800000, 5000),
			Answer{Prefix: "a", Alternates: "b", Multipath: true, Reason: reasonEnoughLow}, "mptcp,enough_low"},
		{"not enough", bulk(Request(open, a, b, bare), 8000000, 5), Answer{Prefix: "b", Alternates: "a c", Reason: reasonOnlyHigh}, "<ts>,,,,,,,,1,-1,8000000,5,b,onlyhigh"},
		{"single, not enough", bulk(Request(connect, a), 80000000, 0), Answer{Prefix: "a", Reason: reasonSingle}, "a,default"},
		{"nothing known", bulk(Request(connect, bare), 800000, 0), Answer{Prefix: "c", Reason: reasonNothing}, "c,default"},
		{"enough, but no RTT", bulk(Request(connect, noRTT, bare), 800000, 0), Answer{Prefix: "c", Alternates: "n", Multipath: true, Reason: reasonNoRTT}, "c,default"},
		{"enough, no RTT, no default", bulk(Request(connect, noRTT), 800000, 0), Answer{Multipath: true, Reason: shape.ReasonNoDefault}, ",none"},
		{"only MPTCP sockets for MPTCP", sockets,
			Answer{Prefix: "a", FD: 7, Alternates: "b", Multipath: true, Reason: reasonEnough}, "<ts>,6-7-,2,5-,1,,,,1,-1,800000,5000,mptcp,enough"},
		{"query", as(Request(connect, b, a), intent.CategoryQuery), Answer{Prefix: "a", Alternates: "b", Reason: streaming.ReasonQuery}, "a,lowlatency"},
		{"query, no RTT", as(Request(connect, bare), intent.CategoryQuery), Answer{Prefix: "c", Reason: streaming.ReasonNoRTT}, "c,default"},
		{"control, nothing left out", as(Request(connect, b, a), intent.CategoryControlTraffic), Answer{Prefix: "a", Alternates: "b", Reason: streaming.ReasonIdle}, "a,default"},
		{"stream", as(Request(open, b, a), intent.CategoryStream), Answer{Prefix: "a", Alternates: "b", Reason: streaming.ReasonOther}, "<ts>,,,,,,,,4,-1,-1,-1,a,default"},
		{"no category", Request(choose, b, a), Answer{Prefix: "a", Alternates: "b", Reason: streaming.ReasonOther}, "<ts>,,0,,0,,,,-1,-1,-1,-1,a,default"},
		{"no prefix", bulk(Request(connect), 800000, 0), Answer{Reason: shape.ReasonNoDefault}, ",none"},
		{"bound", bulk(Bind(Request(open, a, b), b), 800000, 0), Answer{Reason: shape.ReasonBound}, "<ts>,,,,,,,,1,-1,800000,0,"},
		{"bound, idle socket", bulk(Bind(Offer(Request(choose, a, b), b), b), 800000, 0),
			Answer{FD: 5, Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}, "<ts>,,0,5-,1,,,,1,-1,800000,0,"},
		{"both families", bulk(Request(open, b, A6(SMA(0, 500000, 0, 0))), 7000000, 5000),
			Answer{Prefix: "a", Alternates: "b", Multipath: true, Reason: reasonEnough}, "<ts>,,,,,,,,1,-1,7000000,5000,mptcp,enough"},
	})
}

// Prefixes that bulk transfers leave out are used for control traffic, until all
// prefixes are used together again.
func TestCounts(t *testing.T) {
	p := Make(New)(t).(*Policy)
	a, b := A(SMA(0, 500000, 0, 0)), B(SMA(0, 2000000, 0, 0))
	for range 3 {
		p.Choose(bulk(Request(open, a, b), 8000000, 5))
	}
	if p.Count(a.ID) != 3 || p.Count(b.ID) != 0 {
		t.Errorf("counts %d, %d", p.Count(a.ID), p.Count(b.ID))
	}
	r := as(Request(connect, b, a), intent.CategoryControlTraffic)
	d := p.Choose(r)
	if Name(d.Prefix) != "a" || d.Reason != streaming.ReasonControl || d.Scores[1].Terms[0].Value != 3 {
		t.Errorf("control traffic over %s (%s)", Name(d.Prefix), d.Reason)
	}
	if line := p.LogLine(r, d); line != "" {
		t.Errorf("log %q", line)
	}
	p.Choose(bulk(Request(open, a, b), 800000, 5))
	if p.Count(a.ID) != 0 {
		t.Errorf("count %d after all were used together", p.Count(a.ID))
	}
}

func TestNew(t *testing.T) {
	p := Make(New, "logfile=s.csv")(t)
	if p.(policy.LineLogger).LogFile() != "s.csv" {
		t.Error("no log file")
	}
	_, err := New(policy.Config{Settings: Settings(`policy "mptcp_selective"`, "be_pessimist=1")})
	Refused(t, err, `unknown setting "be_pessimist"`)
}
