package video

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

// bulk makes r a request for a segment of 4 MB, with a play-out buffer in milliseconds.
func bulk(r *policy.Request, buffer int64) *policy.Request {
	r.Intents = r.Intents.WithCategory(intent.CategoryBulkTransfer).WithBitrateBitsPerSecond(8000000).With(intent.OptDuration, buffer)
	return r
}

func as(r *policy.Request, c intent.Category) *policy.Request {
	r.Intents = r.Intents.WithCategory(c)
	return r
}

// The vectors have the branches of both variants. These cases are about the rest.
func TestChoose(t *testing.T) {
	a := A(SMA(2e6, 3e6, 3e6, 3e6))
	b := B(SMA(4e6, 2e6, 2e6, 2e6))
	bare := Prefix("c", "10.0.3.2/24", Default)
	long, veryLong := B(SMA(0, 0, 1e6, 1e6)), B(SMA(0, 0, 0, 1e6))
	Run(t, Make(New), []Case{
		{"segment", bulk(Request(connect, b, a), 8000), Answer{Prefix: "a", Alternates: "b", Reason: reasonMid}, "a,lowloadtime"},
		{"segment, open", bulk(Request(open, b, bare, a), 8000), Answer{Prefix: "a", Alternates: "b c", Reason: reasonMid}, "<ts>,,,,,,,,-1,1,8000000,8000,a,lowloadtime"},
		{"segment, idle socket", bulk(Offer(Request(choose, a, b), b, a), 8000),
			Answer{Prefix: "a", FD: 6, Alternates: "b", Reason: reasonMid}, "<ts>,6-,1,5-,1,,,,1,-1,8000000,8000,a,lowloadtime"},
		{"by the last minute", bulk(Request(connect, bare, long), 8000), Answer{Prefix: "b", Alternates: "c", Reason: reasonLong}, "b,lowloadtime"},
		{"by the last 10 minutes", bulk(Request(connect, bare, veryLong), 8000), Answer{Prefix: "b", Alternates: "c", Reason: reasonVeryLong}, "b,lowloadtime"},
		{"nothing predictable", bulk(Request(connect, bare), 8000), Answer{Prefix: "c", Reason: reasonNothing}, "c,default"},
		{"nothing predictable, no default", bulk(Request(connect, B()), 8000), Answer{Reason: shape.ReasonNoDefault}, ",none"},
		{"query", as(Request(connect, b, bare, a), intent.CategoryQuery), Answer{Prefix: "a", Alternates: "b c", Reason: streaming.ReasonQuery}, "a,lowlatency"},
		{"query, no RTT", as(Request(connect, bare), intent.CategoryQuery), Answer{Prefix: "c", Reason: streaming.ReasonNoRTT}, "c,default"},
		{"control, nothing passed over", as(Request(connect, a), intent.CategoryControlTraffic), Answer{Prefix: "a", Reason: streaming.ReasonIdle}, "a,default"},
		{"stream", as(Request(open, b, a), intent.CategoryStream), Answer{Prefix: "a", Alternates: "b", Reason: streaming.ReasonOther}, "<ts>,,,,,,,,-1,4,-1,-1,a,default"},
		{"no category", Size(Request(choose, b, a), 77), Answer{Prefix: "a", Alternates: "b", Reason: streaming.ReasonOther}, "<ts>,,0,,0,,,,-1,77,-1,-1,a,default"},
		{"single", bulk(Request(connect, a), 8000), Answer{Prefix: "a", Reason: reasonMid}, "a,lowloadtime"},
		{"no prefix", bulk(Request(open), 8000), Answer{Reason: shape.ReasonNoDefault}, "<ts>,,,,,,,,-1,1,8000000,8000,,none"},
		{"bound", bulk(Bind(Request(open, a, b), b), 8000), Answer{Reason: shape.ReasonBound}, "<ts>,,,,,,,,-1,1,8000000,8000,"},
		{"bound, connect", bulk(Bind(Request(connect, a, b), b), 8000), Answer{Reason: shape.ReasonBound}, ""},
		{"bound, idle socket", bulk(Bind(Offer(Request(choose, a, b), a, b), b), 8000),
			Answer{FD: 6, Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}, "<ts>,5-,1,6-,1,,,,1,-1,8000000,8000,"},
		{"IPv6", bulk(Request(open, A6(SMA(2e6, 3e6, 3e6, 3e6))), 8000), Answer{Prefix: "a", Reason: reasonMid}, "<ts>,,,,,,,,-1,1,8000000,8000,a,lowloadtime"},
		{"both families", bulk(Request(connect, b, A6(SMA(2e6, 3e6, 3e6, 3e6))), 8000), Answer{Prefix: "a", Alternates: "b", Reason: reasonMid}, "a,lowloadtime"},
	})
}

// A link whose capacity collapses is left. Control traffic goes over the other network.
func TestPessimistLeavesACollapsedLink(t *testing.T) {
	p := Make(New, "be_pessimist=true")(t)
	b := B(SMA(3e6, 3e6, 3e6, 3e6))
	for i, step := range []struct {
		a      *policy.Prefix
		buffer int64
		want   string
	}{
		{A(SMA(9e6, 9e6, 9e6, 9e6)), 12000, "a"},
		{A(SMA(8e6, 9e6, 9e6, 9e6)), 12000, "a"},
		{A(SMA(2e5, 9e6, 9e6, 9e6)), 8000, "b"}, // 20 s per segment of 4 s
		{A(SMA(2e5, 9e6, 9e6, 9e6)), 8000, "a"}, // its bad second is old: it was not used since
		{A(SMA(2e5, 2e5, 9e6, 9e6)), 8000, "b"}, // ten seconds later the bad second no longer counts as old
	} {
		d := p.Choose(bulk(Request(open, step.a, b), step.buffer))
		if Name(d.Prefix) != step.want {
			t.Errorf("step %d: %s (%s), want %s", i, Name(d.Prefix), d.Reason, step.want)
		}
	}
	d := p.Choose(as(Request(connect, A(), b), intent.CategoryControlTraffic))
	if Name(d.Prefix) != "a" || d.Reason != streaming.ReasonControl || p.(*Policy).NotPicked(A().ID) != 1 {
		t.Errorf("control traffic over %s (%s)", Name(d.Prefix), d.Reason)
	}
	if line := p.(policy.LineLogger).LogLine(as(Request(open, A(), b), intent.CategoryControlTraffic), d); line != "<ts>,,,,,,,,-1,2,-1,-1," {
		t.Errorf("log %q", line)
	}
}

func TestOptimistTriesWhatWasFast(t *testing.T) {
	p := Make(New)(t)
	a, b := A(SMA(2e6, 3e6, 3e6, 3e6)), B(SMA(1e6, 2e6, 2e6, 9e6))
	for i := range 5 {
		d := p.Choose(bulk(Request(open, a, b), 12000))
		if want := []string{"a", "a", "a", "a", "b"}[i]; Name(d.Prefix) != want {
			t.Errorf("segment %d: %s (%s), want %s", i, Name(d.Prefix), d.Reason, want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		value   string
		lenient bool
		want    bool
	}{
		{"true", false, true}, {"1", false, true}, {"false", false, false}, {"0", false, false},
		{"1", true, true}, {"0", true, true}, {"very", true, true}, // any value counts in the original
	} {
		p, err := New(policy.Config{Settings: Settings(`policy "video"`, "be_pessimist="+tt.value), Lenient: tt.lenient})
		if err != nil || p.(*Policy).pessimist != tt.want {
			t.Errorf("be_pessimist = %s (lenient %v): %v, %v", tt.value, tt.lenient, p, err)
		}
		said := map[bool]string{true: "Being pessimist", false: "Not being pessimist"}[tt.want]
		if got := p.(policy.Announcer).Announcement(); len(got) != 1 || got[0] != said {
			t.Errorf("be_pessimist = %s: announces %q, want %q", tt.value, got, said)
		}
	}
	_, err := New(policy.Config{Settings: Settings(`policy "video"`, "logfile=x", "be_pessimist=very")})
	Refused(t, err, "test.conf:2,3", "be_pessimist", `"very"`)
	_, err = New(policy.Config{Settings: Settings(`policy "video"`, "pessimist=1")})
	Refused(t, err, `unknown setting "pessimist"`, "be_pessimist")
}
