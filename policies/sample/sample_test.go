package sample

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestChoose(t *testing.T) {
	a, b, b2 := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24", Default), Prefix("b2", "10.0.3.2/24", Default)
	a6, b6 := Prefix("a", "2001:db8:1::2/64"), Prefix("b", "2001:db8:2::2/64", Default)
	foreign := Offer(Request(policy.SocketChoose, a, b), a)
	foreign.Sockets[0].Local, foreign.Sockets[0].Prefix = Prefix("z", "192.0.2.1/24").Addr(), nil
	for _, tt := range []struct {
		name string
		r    *policy.Request
		want Answer
		log  string
	}{
		{"first default", Request(policy.Connect, a, b, b2), Answer{Prefix: "b", Alternates: "b2 a", Reason: "default prefix"}, "b,default"},
		{"single", Request(policy.SocketConnect, b), Answer{Prefix: "b", Reason: "default prefix"}, "<ts>,,,,,,,,,,,,b,default"},
		{"no default", Request(policy.SocketConnect, a), Answer{Reason: "no default prefix: no preference"}, "<ts>,,,,,,,,,,,,"},
		{"no default, no line", Request(policy.Connect, a), Answer{Reason: "no default prefix: no preference"}, ""},
		{"no prefix", Request(policy.Connect), Answer{Reason: "no default prefix: no preference"}, ""},
		{"bound", Bind(Request(policy.SocketConnect, a, b), a), Answer{Reason: "bound by the application"}, "<ts>,,,,,,,,,,,,"},
		{"bound, connect", Bind(Request(policy.Connect, a, b), a), Answer{Reason: "bound by the application"}, ""},
		{"idle socket", Offer(Request(policy.SocketChoose, a, b), a, b), Answer{Prefix: "a", FD: 5, Alternates: "b", Reason: "first idle socket"}, "<ts>,5-,1,6-,1,,,,,,,,,,a,reuse"},
		{"idle socket of no prefix", foreign, Answer{FD: 5, Reason: "first idle socket"}, "<ts>,,0,,0,,,,,,,,,,5,reuse"},
		{"idle socket though bound", Bind(Offer(Request(policy.SocketChoose, a, b), b), a), Answer{FD: 5, Reason: "first idle socket"}, "<ts>,,0,5-,1,,,,,,,,,,b,reuse"},
		{"IPv6", Request(policy.SocketChoose, a6, b6), Answer{Prefix: "b", Alternates: "a", Reason: "default prefix"}, "<ts>,,0,,0,,,,,,,,,,b,default"},
		{"both families", Request(policy.SocketChoose, a, a6, b6), Answer{Prefix: "b", Alternates: "a a", Reason: "default prefix"}, "<ts>,,0,,,,,,,,,,b,default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Policy{}
			d := p.Choose(tt.r)
			if diff := cmp.Diff(tt.want, AnswerOf(d)); diff != "" {
				t.Errorf("Choose (-want +got):\n%s", diff)
			}
			if got := p.LogLine(tt.r, d); got != tt.log {
				t.Errorf("LogLine = %q, want %q", got, tt.log)
			}
		})
	}
}

func TestScoresNameEveryCandidate(t *testing.T) {
	a, b := Prefix("a", "10.0.1.2/24"), Prefix("b", "10.0.2.2/24", Default)
	d := (&Policy{}).Choose(Request(policy.Connect, a, b))
	if diff := cmp.Diff([]policy.Score{{Prefix: a}, {Prefix: b, Note: "default"}}, d.Scores, cmp.Comparer(func(x, y *policy.Prefix) bool { return x == y })); diff != "" {
		t.Errorf("Scores (-want +got):\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	p, err := New(policy.Config{Settings: Settings(`policy "sample"`, "logfile=/var/log/x.csv")})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.(*Policy).LogFile(); got != "/var/log/x.csv" {
		t.Errorf("LogFile = %q", got)
	}
	_, err = New(policy.Config{Settings: Settings(`policy "sample"`, "foo=bar")})
	Refused(t, err, "test.conf:1,3", `unknown setting "foo"`, "logfile")
	_, err = New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "category=query")})
	Refused(t, err, `unknown setting "category"`)
	if _, err = New(policy.Config{Settings: Settings(`policy "sample"`, "foo=bar"), Lenient: true}); err != nil {
		t.Errorf("the original's test configuration is refused: %v", err)
	}
}
