package mptcpdefaultflow

import (
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
		{"connect", Request(policy.Connect, a, b), Answer{Prefix: "b", Alternates: "a", Multipath: true, Reason: reasonDefault}, ""},
		{"open", Request(open, a, b), Answer{Prefix: "b", Alternates: "a", Multipath: true, Reason: reasonDefault}, ""},
		{"choose", Request(choose, a, b), Answer{Prefix: "b", Alternates: "a", Reason: shape.ReasonDefault}, ""},
		{"idle socket", Offer(Request(choose, a, b), a), Answer{Prefix: "a", FD: 5, Alternates: "b", Reason: shape.ReasonFirstSocket}, ""},
		{"bound", Bind(Request(open, a, b), a), Answer{Multipath: true, Reason: shape.ReasonBound}, ""},
		{"bound, choose", Bind(Request(choose, a, b), a), Answer{Reason: shape.ReasonBound}, ""},
		{"no default", Request(open, a), Answer{Multipath: true, Reason: shape.ReasonNoDefault}, ""},
		{"no prefix", Request(open), Answer{Multipath: true, Reason: shape.ReasonNoDefault}, ""},
		{"both families", Request(open, a, A6()), Answer{Prefix: "a", Alternates: "a", Multipath: true, Reason: reasonDefault}, ""},
	})
}

func TestReconfigure(t *testing.T) {
	made, err := New(policy.Config{Prefixes: []*policy.Prefix{A(), B(), B6(Default)}})
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*Policy)
	if p.Active() != B6().Addr() {
		t.Errorf("active at first: %v, want the last default prefix", p.Active())
	}
	for _, a := range []string{"10.0.1.2", "2001:db8:1::2", "192.0.2.77"} {
		if err := p.Reconfigure(a, nil); err != nil || p.Active().String() != a {
			t.Errorf("Reconfigure(%q): %v, active %v", a, err, p.Active())
		}
	}
	for _, text := range []string{"", "wlan0", "10.0.1", "10.0.1.2/24"} {
		if err := p.Reconfigure(text, nil); err == nil || p.Active().String() != "192.0.2.77" {
			t.Errorf("Reconfigure(%q): %v, active %v", text, err, p.Active())
		}
	}
}

func TestNew(t *testing.T) {
	p := Make(New)(t)
	if p.(*Policy).Active().IsValid() {
		t.Error("an address is active without default prefix")
	}
	for value, want := range map[string]string{"1": " (flows allowed)", "0": " (flows not allowed)", "2": " (flows not allowed)"} {
		if got := p.(policy.Annotator).Annotate(Prefix("a", "10.0.1.2/24", Default, Option("allowflow", value))); got != want {
			t.Errorf("allowflow %s: %q", value, got)
		}
	}
	_, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "allowflow=yes")})
	Refused(t, err, "allowflow", "must be an integer")
}
