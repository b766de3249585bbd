package intents

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

func TestChoose(t *testing.T) {
	query := Prefix("query", "10.0.1.2/24", Option("category", "query"))
	bulk := Prefix("bulk", "10.0.2.2/24", Option("category", "bulktransfer"))
	odd := Prefix("odd", "10.0.3.2/24", Option("category", "nonsense"))
	first, last := Prefix("first", "10.0.4.2/24", Default), Prefix("last", "10.0.5.2/24", Default)
	query6, last6 := Prefix("query", "2001:db8:1::2/64", Option("category", "query")), Prefix("last", "2001:db8:5::2/64", Default)
	with := func(r *policy.Request, c intent.Category) *policy.Request {
		r.Intents = r.Intents.WithCategory(c)
		return r
	}
	for _, tt := range []struct {
		name string
		r    *policy.Request
		want Answer
	}{
		{"match", with(Request(policy.Connect, first, query, bulk), intent.CategoryBulkTransfer),
			Answer{Prefix: "bulk", Alternates: "first query", Reason: "prefix for category bulktransfer"}},
		{"first match", with(Request(policy.Connect, query, Prefix("again", "10.0.9.2/24", Option("category", "query"))), intent.CategoryQuery),
			Answer{Prefix: "query", Alternates: "again", Reason: "prefix for category query"}},
		{"no match: last default", with(Request(policy.SocketConnect, first, query, last), intent.CategoryStream),
			Answer{Prefix: "last", Alternates: "first query", Reason: "no prefix for this category: default"}},
		{"no match, no default", with(Request(policy.Connect, query, bulk), intent.CategoryKeepAlives), Answer{Reason: "no default prefix: no preference"}},
		{"no category", Request(policy.Connect, odd, query, last), Answer{Prefix: "last", Alternates: "odd query", Reason: "no category given: default"}},
		{"category out of range", with(Request(policy.Connect, odd, query, last), 99),
			Answer{Prefix: "last", Alternates: "odd query", Reason: "no prefix for this category: default"}},
		{"no prefix", with(Request(policy.Connect), intent.CategoryQuery), Answer{Reason: "no default prefix: no preference"}},
		{"single", with(Request(policy.Connect, bulk), intent.CategoryBulkTransfer), Answer{Prefix: "bulk", Reason: "prefix for category bulktransfer"}},
		{"bound", with(Bind(Request(policy.Connect, query, last), last), intent.CategoryQuery), Answer{Reason: "bound by the application", Resolution: policy.ResolveDefault}},
		{"bound, no category", Bind(Request(policy.Connect, query, last), query), Answer{Reason: "bound by the application", Resolution: policy.ResolveDefault}},
		{"reuse on the prefix", with(Offer(Request(policy.SocketChoose, query, bulk), query, bulk, bulk), intent.CategoryBulkTransfer),
			Answer{Prefix: "bulk", FD: 6, Alternates: "query", Reason: "prefix for category bulktransfer"}},
		{"nothing to reuse", with(Offer(Request(policy.SocketChoose, query, bulk), query), intent.CategoryBulkTransfer),
			Answer{Prefix: "bulk", Alternates: "query", Reason: "prefix for category bulktransfer"}},
		{"IPv6", with(Request(policy.Connect, last6, query6), intent.CategoryQuery), Answer{Prefix: "query", Alternates: "last", Reason: "prefix for category query"}},
		{"both families", with(Request(policy.SocketConnect, bulk, last, query6, last6), intent.CategoryQuery),
			Answer{Prefix: "query", Alternates: "last last bulk", Reason: "prefix for category query"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, AnswerOf((&Policy{}).Choose(tt.r))); diff != "" {
				t.Errorf("Choose (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNew(t *testing.T) {
	for c := intent.CategoryQuery; c <= intent.CategoryStream; c++ {
		if _, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "category="+c.String())}); err != nil {
			t.Error(err)
		}
	}
	_, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "category=Query")})
	Refused(t, err, "test.conf:1,3", `prefix "10.0.0.0/8"`, "bulktransfer", `"Query"`)
	_, err = New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "minfilesize=1")})
	Refused(t, err, `unknown setting "minfilesize"`)
	// As in the original's policy_category.conf.
	if _, err := New(policy.Config{PrefixSettings: Settings(`prefix "10.0.0.0/8"`, "minfilesize=1", "category=fast"), Lenient: true}); err != nil {
		t.Errorf("a configuration of the original is refused: %v", err)
	}
}

func TestAnnotate(t *testing.T) {
	for _, tt := range []struct {
		p    *policy.Prefix
		want string
	}{
		{Prefix("a", "10.0.1.2/24", Option("category", "stream"), Default), " (stream) (default)"},
		{Prefix("a", "10.0.1.2/24", Option("category", "x")), ""},
		{Prefix("a", "10.0.1.2/24"), ""},
	} {
		if got := (&Policy{}).Annotate(tt.p); got != tt.want {
			t.Errorf("Annotate = %q, want %q", got, tt.want)
		}
	}
}
