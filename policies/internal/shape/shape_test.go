package shape_test

import (
	"testing"

	"github.com/socket-intents/mamma/policies/internal/shape"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestRanked(t *testing.T) {
	a, b, c, d := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24", Default), Prefix("c", "10.0.3.2/24"), Prefix("d", "10.0.4.2/24", Default)
	r := Request(policy.Connect, a, b, c, d)
	for _, tt := range []struct {
		chosen *policy.Prefix
		ranks  []float64
		want   string
	}{
		{a, []float64{0, 3, 2, 1}, "d c b"},
		{a, []float64{0, 1, 1, 1}, "b d c"},
		{c, []float64{1, 2, 0, 1}, "d a b"},
		{d, []float64{5, 5, 5, 5}, "b a c"},
		{nil, nil, ""},
	} {
		if got := Names(shape.Ranked(r, tt.chosen, func(i int) float64 { return tt.ranks[i] })); got != tt.want {
			t.Errorf("chosen %s, ranks %v: %s, want %s", Name(tt.chosen), tt.ranks, got, tt.want)
		}
	}
	if got := shape.Alternates(Request(policy.Connect, a), a); got != nil {
		t.Errorf("alternates of the only candidate: %v", got)
	}
}

func TestOn(t *testing.T) {
	a, b := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24")
	again := Prefix("a", "10.0.1.2/24")
	twin := Prefix("twin", "10.0.1.3/24") // the same network on another interface
	for _, tt := range []struct {
		name string
		s    policy.Socket
		want bool
	}{
		{"its prefix", policy.Socket{Local: a.Addr(), Prefix: a}, true},
		{"its prefix in another snapshot", policy.Socket{Local: a.Addr(), Prefix: again}, true},
		{"another", policy.Socket{Local: b.Addr(), Prefix: b}, false},
		{"the same network elsewhere", policy.Socket{Local: a.Addr(), Prefix: twin}, false},
		{"only an address", policy.Socket{Local: a.Addr()}, true},
		{"only another address", policy.Socket{Local: b.Addr()}, false},
		{"only an address of the other family", policy.Socket{Local: A6().Addr()}, false},
		{"nothing", policy.Socket{}, false},
	} {
		if got := shape.On(&tt.s, a); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestLogList(t *testing.T) {
	a, a6 := A(), A6()
	for _, tt := range []struct {
		list []*policy.Prefix
		want int
	}{
		{[]*policy.Prefix{a, a6}, 1}, {[]*policy.Prefix{a}, 1}, {[]*policy.Prefix{a6, B6()}, 2}, {nil, 0},
	} {
		if got := shape.LogList(Request(policy.Connect, tt.list...)); len(got) != tt.want {
			t.Errorf("%s of %s", Names(got), Names(tt.list))
		}
	}
}

func TestResolver(t *testing.T) {
	if d := shape.Resolver(Request(policy.Resolve, A())); d.Resolution != policy.ResolveDefault || d.Reason == "" {
		t.Errorf("%+v", d)
	}
	if d := shape.Resolver(Bind(Request(policy.Resolve, A()), A())); d.Resolution != policy.ResolveOnPrefix || d.Prefix != nil || d.Reason == "" {
		t.Errorf("bound: %+v", d)
	}
}
