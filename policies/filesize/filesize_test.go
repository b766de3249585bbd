package filesize

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

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

func ranged(name, addr, low, high string, edits ...func(*policy.Prefix)) *policy.Prefix {
	if low != "" {
		edits = append(edits, Option("minfilesize", low))
	}
	if high != "" {
		edits = append(edits, Option("maxfilesize", high))
	}
	return Prefix(name, addr, edits...)
}

func TestChoose(t *testing.T) {
	small, large := ranged("small", "10.0.1.2/24", "", "1000"), ranged("large", "10.0.2.2/24", "5000", "")
	first, last := ranged("first", "10.0.3.2/24", "9", "8", Default), ranged("last", "10.0.4.2/24", "9", "8", Default)
	Run(t, Make(New), []Case{
		{"lower end", Size(Request(connect, large, small), 0), Answer{Prefix: "small", Alternates: "large", Reason: reasonRange}, ""},
		{"upper end", Size(Request(open, large, small), 1000), Answer{Prefix: "small", Alternates: "large", Reason: reasonRange}, ""},
		{"without end", Size(Request(open, small, large), math.MaxInt64), Answer{Prefix: "large", Alternates: "small", Reason: reasonRange}, ""},
		{"in between: last default", Size(Request(open, small, large, first, last), 2000),
			Answer{Prefix: "last", Alternates: "first small large", Reason: reasonNoRange}, ""},
		{"negative", Size(Request(connect, small, last), -1), Answer{Prefix: "last", Alternates: "small", Reason: reasonNoRange}, ""},
		{"in between, no default", Size(Request(connect, small, large), 2000), Answer{Reason: shape.ReasonNoDefault}, ""},
		{"not configured", Size(Request(connect, Prefix("any", "10.0.9.2/24"), small), 10), Answer{Prefix: "any", Alternates: "small", Reason: reasonRange}, ""},
		{"connect without size", Request(connect, small, first, last), Answer{Prefix: "last", Alternates: "first small", Reason: reasonNoSize}, ""},
		{"open without size", Request(open, small, last), Answer{Resolution: policy.ResolveDefault, Reason: reasonSilent}, ""},
		{"choose without size", Request(choose, small, last), Answer{Resolution: policy.ResolveDefault, Reason: reasonSilent}, ""},
		{"idle socket", Size(Offer(Request(choose, small, large), large, small), 10), Answer{Prefix: "large", FD: 5, Alternates: "small", Reason: shape.ReasonFirstSocket}, ""},
		{"bound", Size(Bind(Request(open, small, large), large), 10), Answer{Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}, ""},
		{"bound, without size", Bind(Request(connect, small, last), last), Answer{Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}, ""},
		{"single", Size(Request(connect, small), 10), Answer{Prefix: "small", Reason: reasonRange}, ""},
		{"no prefix", Size(Request(connect), 10), Answer{Reason: shape.ReasonNoDefault}, ""},
		{"both families", Size(Request(open, small, ranged("large", "2001:db8::2/64", "5000", "")), 6000),
			Answer{Prefix: "large", Alternates: "small", Reason: reasonRange}, ""},
	})
}

func TestChooseResolver(t *testing.T) {
	small, last := ranged("small", "10.0.1.2/24", "", "1000"), Prefix("last", "10.0.4.2/24", Default, Option("minfilesize", "1001"))
	p := Make(New)(t).(policy.ResolveChooser)
	for _, tt := range []struct {
		name string
		r    *policy.Request
		want Answer
	}{
		{"size", Size(Request(policy.Resolve, last, small), 10), Answer{Prefix: "small", Alternates: "last", Reason: reasonRange}},
		{"no size", Request(policy.Resolve, last, small), Answer{Resolution: policy.ResolveDefault, Reason: reasonSilent}},
		{"bound", Bind(Size(Request(policy.Resolve, last, small), 10), last), Answer{Resolution: policy.ResolveDefault, Reason: shape.ReasonBound}},
	} {
		if diff := cmp.Diff(tt.want, AnswerOf(p.ChooseResolver(tt.r))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "minfilesize=-1", "maxfilesize=1s", "category=query")})
	Refused(t, err, "minfilesize", "at least 0", "maxfilesize", `must be a number of bytes, or an amount such as "300M"; "1s" is a duration`, `unknown setting "category"`)
	if _, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "minfilesize=1kB", "maxfilesize=1231322323")}); err != nil {
		t.Error(err)
	}
}

func TestAnnotate(t *testing.T) {
	p := Make(New)(t).(policy.Annotator)
	for _, tt := range []struct {
		p    *policy.Prefix
		want string
	}{
		{ranged("a", "10.0.1.2/24", "1", "2", Default), " (from 1 to 2 bytes) (default)"},
		{ranged("a", "10.0.1.2/24", "", ""), " (from 0 bytes)"},
	} {
		if got := p.Annotate(tt.p); got != tt.want {
			t.Errorf("Annotate = %q, want %q", got, tt.want)
		}
	}
}
