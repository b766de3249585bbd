package rrpipelining

import (
	"strings"
	"testing"

	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestChoose(t *testing.T) {
	a, b := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24", Default)
	const open, choose = policy.SocketConnect, policy.SocketChoose
	Run(t, Make(New), []Case{
		{"connect", Request(policy.Connect, a, b), Answer{Reason: reasonConnect}, ""},
		{"new", Request(open, a, b), Answer{Prefix: "a", Alternates: "b", Resolution: policy.ResolveDefault, Reason: reasonTurn}, ""},
		{"single", Request(open, b), Answer{Prefix: "b", Resolution: policy.ResolveDefault, Reason: reasonTurn}, ""},
		{"one idle socket is too few", Offer(Request(choose, a, b), b), Answer{Prefix: "a", Alternates: "b", Resolution: policy.ResolveDefault, Reason: reasonTurn}, ""},
		{"two idle sockets", Offer(Request(choose, a, b), b, a), Answer{Prefix: "b", FD: 5, Alternates: "a", Reason: reasonSocket}, ""},
		{"two idle sockets, bound", Bind(Offer(Request(choose, a, b), b, a), a), Answer{FD: 5, Reason: reasonSocket}, ""},
		{"bound", Bind(Request(open, a, b), b), Answer{Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}, ""},
		{"no prefix", Request(open), Answer{Resolution: policy.ResolveDefault, Reason: shape.ReasonNoPrefix}, ""},
		{"both families", Request(open, a, B6()), Answer{Prefix: "a", Alternates: "b", Resolution: policy.ResolveDefault, Reason: reasonTurn}, ""},
	})
}

// The original remembers one descriptor for all clients and destinations. Here each has
// its own.
func TestTurnsPerClientAndDestination(t *testing.T) {
	p := Make(New)(t)
	a := A()
	request := func(edit func(*policy.Request)) *policy.Request {
		r := Offer(Request(policy.SocketChoose, a), a, a, a)
		edit(r)
		return r
	}
	same := func(*policy.Request) {}
	for i, step := range []struct {
		edit func(*policy.Request)
		want int32
	}{
		{same, 5}, {same, 6},
		{func(r *policy.Request) { r.App.PID++ }, 5},
		{func(r *policy.Request) { r.App.UID++ }, 5},
		{func(r *policy.Request) { r.Host = "other.example.net" }, 5},
		{func(r *policy.Request) { r.Service = "443" }, 5},
		{func(r *policy.Request) { r.App.PID++ }, 6},
		{same, 7}, {same, 5},
	} {
		if d := p.Choose(request(step.edit)); d.Socket.FD != step.want {
			t.Errorf("step %d: socket %d, want %d", i, d.Socket.FD, step.want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	p := Make(New)(t).(*Policy)
	for i := range uint32(maxDestinations + 100) {
		r := Offer(Request(policy.SocketChoose, A()), A(), A())
		r.App.PID = i
		r.Host = strings.Repeat("x", 10000)
		p.Choose(r)
	}
	if p.last.Len() != maxDestinations {
		t.Errorf("%d destinations are remembered", p.last.Len())
	}
}

func TestNamesAreLeftToTheClient(t *testing.T) {
	if d := Make(New)(t).(policy.ResolveChooser).ChooseResolver(Request(policy.Resolve, A())); d.Resolution != policy.ResolveNever {
		t.Errorf("%+v", d)
	}
}
