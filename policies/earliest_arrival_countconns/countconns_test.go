package earliestarrivalcountconns

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policies/internal/arrival"
	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const open, choose = policy.SocketConnect, policy.SocketChoose

func TestChoose(t *testing.T) {
	a, b := A(), B()
	Run(t, Make(New), []Case{
		{"latency-dominated", Size(Request(open, a, b), 12000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,12000,,0,,0,,,,49.60,0,1,a_lowrtt"},
		{"capacity-dominated", Size(Request(open, a, b), 1000000),
			Answer{Prefix: "b", Alternates: "a", Reason: arrival.ReasonCapacity}, "<ts>,1000000,,0,,0,,,,502.73,1,0,b_highbw"},
		{"nothing known", Size(Request(open, Prefix("c", "10.0.3.2/24", Default)), 1000),
			Answer{Prefix: "c", Reason: arrival.ReasonNothing}, "<ts>,1000,,0,,,,0.0,0,0,c_default"},
		{"no size", Request(open, b, a), Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonNoSize}, "<ts>,,,0,,0,,,,a_default"},
		{"reuse", Size(Offer(Request(choose, a, b), a), 1000),
			Answer{Prefix: "a", FD: 5, Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,5-,1,,0,,,,20.80,0,1,a_lowrtt"},
		{"no prefix", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoDefault}, "<ts>,1000,,,,0.0,0,0,none"},
		{"single", Size(Request(open, b), 1000), Answer{Prefix: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,,0,,,,100.16,0,1,b_lowrtt"},
		{"bound", Size(Bind(Request(open, a, b), b), 1000), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"both families", Size(Request(open, b, A6()), 1000),
			Answer{Prefix: "a", Alternates: "b", Reason: arrival.ReasonLowRTT}, "<ts>,1000,,0,,0,,,,40.80,0,1,a_lowrtt"},
	})
}

// A page of small objects is loaded over one prefix. Every transfer counts until its
// socket is offered for reuse.
func TestTransfersBeginAndEnd(t *testing.T) {
	p := Make(New)(t).(*Policy)
	a, b := A(), B()
	now := Now()
	for i, step := range []struct {
		later time.Duration
		size  int64
		idle  []*policy.Prefix // 5, 6, ...
		want  string
		a, b  arrival.State
	}{
		{0, 1000, nil, "a", arrival.State{Small: 1}, arrival.State{}},
		{0, 1000, nil, "a", arrival.State{Small: 2}, arrival.State{}},
		{0, 1000000, nil, "b", arrival.State{Small: 2}, arrival.State{Big: 1}},
		// Both small transfers are over, and one socket is used again.
		{time.Second, 1000, []*policy.Prefix{a, a}, "a", arrival.State{Small: 1, Reuse: 1}, arrival.State{Big: 1}},
		// Sockets 5 and 6 are idle. But 5 was suggested 5 ms ago, less than a
		// round-trip time, so its transfer is not over, and 6 is taken.
		{5 * time.Millisecond, 1000, []*policy.Prefix{a, a}, "a", arrival.State{Small: 2}, arrival.State{Big: 1}},
		// The large transfer is over too.
		{time.Second, 1000000, []*policy.Prefix{b}, "b", arrival.State{Small: 2}, arrival.State{Big: 1}},
		// Socket 5 of b carried a large transfer. No small transfer is running there.
		{time.Second, 1000000, []*policy.Prefix{b, b}, "b", arrival.State{Small: 2}, arrival.State{Big: 1, Reuse: 1}},
	} {
		now = now.Add(step.later)
		r := Size(Offer(Request(open, a, b), step.idle...), step.size)
		if step.idle != nil {
			r.Kind = choose
		}
		r.Now = now
		d := p.Choose(r)
		if Name(d.Prefix) != step.want {
			t.Errorf("step %d: chose %s", i, Name(d.Prefix))
		}
		if i == 4 && d.Socket.FD != 6 {
			t.Errorf("step %d: reused %d, which is in use", i, d.Socket.FD)
		}
		if diff := cmp.Diff([]arrival.State{step.a, step.b}, []arrival.State{p.Counts.State(a.ID), p.Counts.State(b.ID)}); diff != "" {
			t.Errorf("step %d: state of a, b (-want +got):\n%s", i, diff)
		}
	}
}

// A socket carries the transfer that it was suggested for. The original looks whether
// the count of large transfers is higher than before the last of them, which remains so
// until one ends. In the fourth step it takes the small transfer of the third step for
// the end of the large one, and is left with 3 small ones and no large one.
func TestMarkedByTheDecision(t *testing.T) {
	p := Make(New)(t).(*Policy)
	a := A()
	now := Now()
	for i, step := range []struct {
		size int64
		idle []int32
		took int32
		want arrival.State
	}{
		{1000, []int32{5, 6, 7}, 5, arrival.State{Small: 1, Reuse: 2}},
		{1000000, []int32{6, 7}, 6, arrival.State{Small: 1, Big: 1, Reuse: 1}},
		{1000, []int32{7}, 7, arrival.State{Small: 2, Big: 1}},
		{1000, []int32{7}, 7, arrival.State{Small: 2, Big: 1}},
		{1000, []int32{6}, 6, arrival.State{Small: 3}},
	} {
		r := Size(Request(choose, a), step.size)
		for _, fd := range step.idle {
			r.Sockets = append(r.Sockets, policy.Socket{FD: fd, Local: a.Addr(), Prefix: a})
		}
		now = now.Add(time.Second)
		r.Now = now
		if d := p.Choose(r); d.Socket == nil || d.Socket.FD != step.took {
			t.Errorf("step %d: %+v", i, d.Socket)
		}
		if diff := cmp.Diff(step.want, p.Counts.State(a.ID)); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

// Each client has its own descriptors.
func TestClientsAreKeptApart(t *testing.T) {
	p := Make(New)(t).(*Policy)
	a := A()
	first := Size(Offer(Request(choose, a), a), 1000)
	p.Choose(first) // remembers that socket 5 of this client was just suggested

	other := Size(Offer(Request(choose, a), a, a), 1000)
	other.App.PID++
	if d := p.Choose(other); d.Socket == nil || d.Socket.FD != 5 {
		t.Error("another client's socket 5 was taken for the one just suggested")
	}
	again := Size(Offer(Request(choose, a), a, a), 1000)
	if d := p.Choose(again); d.Socket == nil || d.Socket.FD != 6 {
		t.Error("the socket just suggested was suggested again")
	}
}

func TestDescriptorsOfAnySize(t *testing.T) {
	p := Make(New)(t).(*Policy)
	a := A()
	for fd := int32(0); fd < 5000; fd++ {
		r := Size(Offer(Request(choose, a), a), 1000)
		r.Sockets[0].FD = 1<<31 - 1 - fd
		p.Choose(r)
	}
}
