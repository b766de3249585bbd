package adaptive

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client/intent"
	"github.com/socket-intents/mamma/mam/policy"
	. "github.com/socket-intents/mamma/policies/internal/policytest"
	"github.com/socket-intents/mamma/policies/shape"
)

const (
	connect = policy.Connect
	open    = policy.SocketConnect
	choose  = policy.SocketChoose
)

// seen says that much was loaded over a prefix.
func seen(p *policy.Prefix) { p.Link.DownBytes = 1e6 }

// near has a short round-trip time and far a high rate.
func near(edits ...func(*policy.Prefix)) *policy.Prefix {
	return Prefix("near", "10.0.1.2/24", append([]func(*policy.Prefix){Default, RTT(10, 12, 0), Down(250e3, 0), seen}, edits...)...)
}

func far(edits ...func(*policy.Prefix)) *policy.Prefix {
	return Prefix("far", "10.0.2.2/24", append([]func(*policy.Prefix){RTT(100, 110, 0), Down(2.5e6, 0), seen}, edits...)...)
}

func suspect(p *policy.Prefix) { p.Health.State = policy.Suspect }

func TestChoose(t *testing.T) {
	a, b := near(), far()
	six := Prefix("six", "2001:db8:1::2/64", RTT(10, 12, 0), Down(250e3, 0), seen)
	dest := Size(Request(connect, a, b), 1000)
	dest.DestStats = []policy.PathStats{{SRTTMin: 400 * time.Millisecond}, {}}
	Run(t, Make(New), []Case{
		{"small", Size(Request(open, b, a), 1000), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"large", Size(Request(connect, a, b), 1e6), Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
		{"plain", Size(Request(open, a, b), 60_000), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"TLS keeps more on the near one", OverTLS(Size(Request(open, a, b), 90_000)), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"the same without TLS", Size(Request(open, a, b), 90_000), Answer{Prefix: "far", Alternates: "near", Reason: reasonWeighed}, ""},
		{"an idle socket makes the far one nearer", Size(Offer(Request(choose, a, b), b), 100_000), Answer{Prefix: "far", FD: 5, Alternates: "near", Reason: reasonEarliest}, ""},
		{"idle sockets on both", Size(Offer(Request(choose, a, b), b, a), 1000), Answer{Prefix: "near", FD: 6, Alternates: "far", Reason: reasonEarliest}, ""},
		{"hardly better than the default", Size(Request(open, a, far(RTT(10, 12, 0), Down(250e3, 0)), near()), 1000), Answer{Prefix: "near", Alternates: "near far", Reason: reasonEarliest}, ""},
		{"the destination is far from here", dest, Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
		{"suspect", Size(Request(open, near(suspect), b), 1000), Answer{Prefix: "far", Alternates: "near", Reason: reasonWeighed}, ""},
		{"single", Size(Request(open, b), 1000), Answer{Prefix: "far", Reason: reasonOnly}, ""},
		{"none", Size(Request(open), 1000), Answer{Reason: shape.ReasonNoPrefix}, ""},
		{"bound", Bind(Size(Request(open, a, b), 1e6), a), Answer{Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"bound, idle socket", Bind(Offer(Size(Request(choose, a, b), 1e6), b, a), a), Answer{FD: 6, Reason: shape.ReasonBound, Resolution: policy.ResolveDefault}, ""},
		{"IPv6", Size(Request(open, six), 1000), Answer{Prefix: "six", Reason: reasonOnly}, ""},
		{"configured capacity", Size(Request(open, near(Option("download_rate_max_recent", "1e8")), b), 1e6), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"nothing said", Request(open, b, a), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"query", With(Request(open, b, a), int64(intent.OptCategory), int64(intent.Query)), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"bulk", With(Request(open, b, a), int64(intent.OptCategory), int64(intent.BulkTransfer)), Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
		{"segment of a low rate", With(Request(open, b, a), int64(intent.OptCategory), int64(intent.BulkTransfer), int64(intent.OptBitrate), 80_000),
			Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"a size counts more than the category", With(Size(Request(open, b, a), 1000), int64(intent.OptCategory), int64(intent.BulkTransfer)),
			Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"negative size", Size(Request(open, b, a), -5), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"absurd size", Size(Request(open, a, b), math.MaxInt64), Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
	})
}

// What is under way counts before any measurement shows it.
func TestSpreads(t *testing.T) {
	p := Make(New)(t)
	a, b := near(), far(RTT(10, 12, 0), Down(250e3, 0))
	got := ""
	for range 6 {
		d := p.Choose(Size(Request(open, a, b), 50_000))
		got += Name(d.Prefix)[:1]
	}
	if got != "nfnfnf" {
		t.Errorf("six equal transfers over two equal links: %s", got)
	}
	// Much later they are over.
	r := Size(Request(open, a, b), 50_000)
	r.Now = Now.Add(time.Hour)
	if d := p.Choose(r); d.Prefix != a || d.Scores[0].Terms[2].Value != 0 {
		t.Errorf("an hour later: %s, scores %+v", Name(d.Prefix), d.Scores)
	}
}

// A transfer that is itself a little faster where others are may still go elsewhere.
func TestMindsOthers(t *testing.T) {
	p := Make(New)(t)
	a, b := near(RTT(45, 45, 0), Down(1e6, 0)), far(RTT(20, 20, 0), Down(1e6, 0))
	l := p.(*Policy).link(b)
	observe(l, 0, b)
	for range 3 {
		l.add(transfer{left: 40e3, most: math.Inf(1), until: time.Hour})
	}
	d := p.Choose(Size(Request(open, a, b), 20_000))
	if d.Prefix != a || d.Reason != reasonWeighed || d.Scores[1].Predicted >= d.Scores[0].Predicted {
		t.Errorf("%s: %s, scores %+v", Name(d.Prefix), d.Reason, d.Scores)
	}
	background := Size(Request(open, a, b), 20_000)
	background.Intents = background.Intents.WithTimeliness(intent.BackgroundTraffic)
	if n := needOf(background.Intents); n.harm <= needOf(intent.Set{}).harm {
		t.Errorf("background traffic counts the delay of others %v times", n.harm)
	}
}

// Where nothing is known each network is tried, the default one first.
func TestColdStart(t *testing.T) {
	p := Make(New)(t)
	a, b := Prefix("a", "10.0.1.2/24", Default), Prefix("b", "10.0.2.2/24")
	used := map[string]int{}
	for i := range 8 {
		d := p.Choose(Size(Request(open, a, b), 30_000))
		if i == 0 && d.Prefix != a {
			t.Errorf("the first one goes over %s", Name(d.Prefix))
		}
		used[Name(d.Prefix)]++
		if v := d.Scores[0].Terms[0].Value; v == v {
			t.Errorf("an unknown round-trip time is shown as %v", v)
		}
	}
	if used["a"] < 3 || used["b"] < 3 {
		t.Errorf("used %v", used)
	}
	// A maximum of little evidence does not make a link a slow one.
	little := Prefix("a", "10.0.1.2/24", RTT(10, 10, 1), Down(15e3, 0))
	little.Link.DownBytes = 1500
	if e := estimateOf(little); e.capacity < 0.9*assumedCapacity {
		t.Errorf("capacity %v after one packet", e.capacity)
	}
	seen(little)
	if e := estimateOf(little); e.capacity != 15e3 {
		t.Errorf("capacity %v after a megabyte", e.capacity)
	}
}

func TestScores(t *testing.T) {
	d := Make(New)(t).Choose(Size(Request(open, near(), far()), 1000))
	var got []string
	for _, s := range d.Scores {
		line := fmt.Sprintf("%s %v %q:", s.Prefix.Interface, s.Predicted.Round(time.Millisecond), s.Note)
		for _, term := range s.Terms {
			line += fmt.Sprintf(" %s %.0f", term.Name, term.Value)
		}
		got = append(got, line)
	}
	want := []string{
		`near 25ms "chosen": rtt 10 capacity 250000 transfers 0 delay of others 0`,
		`far 201ms "": rtt 100 capacity 2500000 transfers 0 delay of others 0`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNew(t *testing.T) {
	_, err := New(policy.Config{Settings: Settings(`policy "adaptive"`, "harm=1")})
	Refused(t, err, `unknown setting "harm"`)
	_, err = New(policy.Config{PrefixSettings: Settings("prefix", "srtt_minimum_recent=soon")})
	Refused(t, err, "srtt_minimum_recent", "must be a number")
	p := Make(New)(t)
	if got := p.(policy.Annotator).Annotate(near()); !strings.Contains(got, "default") {
		t.Errorf("annotation %q", got)
	}
}

// A decision with a browser's worth of transfers on each of four prefixes.
func BenchmarkChoose(b *testing.B) {
	p, err := New(policy.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var list []*policy.Prefix
	for i := range 4 {
		q := Prefix(fmt.Sprintf("p%d", i), fmt.Sprintf("10.0.%d.2/24", i), RTT(20, 20, 0), Down(1e6, 0), seen)
		observe(p.(*Policy).link(q), 0, q)
		list = append(list, q)
	}
	r := Size(Request(open, list...), 50_000)
	for b.Loop() {
		for _, q := range list {
			l := p.(*Policy).link(q)
			for len(l.transfers) < 17 {
				l.add(l.transfer(float64(1000*len(l.transfers)), 20*time.Millisecond, 2))
			}
			l.transfers = l.transfers[:17]
		}
		p.Choose(r)
	}
}
