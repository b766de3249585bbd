package rrnaive

import (
	"testing"

	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestChoose(t *testing.T) {
	a, b := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24", Default)
	Run(t, Make(New), []Case{
		{"first", Request(policy.Connect, a, b), Answer{Prefix: "a", Alternates: "b", Reason: reasonTurn}, ""},
		{"single", Request(policy.SocketConnect, b), Answer{Prefix: "b", Reason: reasonTurn}, ""},
		{"idle sockets are left alone", Offer(Request(policy.SocketChoose, a, b), b), Answer{Prefix: "a", Alternates: "b", Reason: reasonTurn}, ""},
		{"no prefix", Request(policy.Connect), Answer{Reason: shape.ReasonNoPrefix}, ""},
		{"bound", Bind(Request(policy.Connect, a, b), b), Answer{Reason: shape.ReasonBound}, ""},
		{"IPv6", Request(policy.Connect, A6(), B6()), Answer{Prefix: "a", Alternates: "b", Reason: reasonTurn}, ""},
	})
}

func TestFamiliesTakeTurnsApart(t *testing.T) {
	p := Make(New)(t)
	four := Request(policy.Connect, A(), B())
	six := Request(policy.Connect, A6(), B6())
	got := ""
	for _, r := range []*policy.Request{four, six, four, Bind(Request(policy.Connect, A(), B()), B()), six, four} {
		got += Name(p.Choose(r).Prefix) + " "
	}
	if want := "a a b  b a "; got != want {
		t.Errorf("chose %q, want %q", got, want)
	}
}

func TestNamesAreLeftToTheClient(t *testing.T) {
	d := Make(New)(t).(policy.ResolveChooser).ChooseResolver(Request(policy.Resolve, A()))
	if d.Resolution != policy.ResolveNever || d.Prefix != nil {
		t.Errorf("%+v", d)
	}
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{Settings: Settings(`policy "rr_naive"`, "logfile=x")})
	Refused(t, err, `unknown setting "logfile"`, "known: none")
	_, err = New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "foo=bar")})
	Refused(t, err, `unknown setting "foo"`)
}
