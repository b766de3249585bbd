package adaptive

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/policies/internal/datagrams"
	"github.com/socket-intents/mamma/policies/internal/predict"
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

// loaded marks the link as fully used for a second.
func loaded(p *policy.Prefix) { p.Link.DownSMAMax.VeryLong = p.Link.DownRateMax }

// near has a short round-trip time, far has a high rate.
func near(edits ...func(*policy.Prefix)) *policy.Prefix {
	edits = append([]func(*policy.Prefix){Default, RTT(10, 12, 0), Down(250e3, 0)}, edits...)
	return Prefix("near", "10.0.1.2/24", append(edits, loaded)...)
}

func far(edits ...func(*policy.Prefix)) *policy.Prefix {
	edits = append([]func(*policy.Prefix){RTT(100, 110, 0), Down(2.5e6, 0)}, edits...)
	return Prefix("far", "10.0.2.2/24", append(edits, loaded)...)
}

func suspect(p *policy.Prefix) { p.Health.State = policy.Suspect }

func TestChoose(t *testing.T) {
	a, b := near(), far()
	six := Prefix("six", "2001:db8:1::2/64", RTT(10, 12, 0), Down(250e3, 0), loaded)
	dest := Size(Request(connect, a, b), 1000)
	dest.DestStats = []policy.PathStats{{SRTTMin: 400 * time.Millisecond}, {}}
	Run(t, Make(New), []Case{
		{"small", Size(Request(open, b, a), 1000), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"large", Size(Request(connect, a, b), 1e6), Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
		{"plain", Size(Request(open, a, b), 60_000), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"TLS keeps more on the near one", OverTLS(Size(Request(open, a, b), 130_000)), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"the same without TLS", Size(Request(open, a, b), 130_000), Answer{Prefix: "far", Alternates: "near", Reason: reasonWeighed}, ""},
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
		{"query", With(Request(open, b, a), int64(intent.OptCategory), int64(intent.CategoryQuery)), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"bulk", With(Request(open, b, a), int64(intent.OptCategory), int64(intent.CategoryBulkTransfer)), Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
		{"segment of a low rate", With(Request(open, b, a), int64(intent.OptCategory), int64(intent.CategoryBulkTransfer), int64(intent.OptBitrate), 80_000),
			Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"a size counts more than the category", With(Size(Request(open, b, a), 1000), int64(intent.OptCategory), int64(intent.CategoryBulkTransfer)),
			Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"negative size", Size(Request(open, b, a), -5), Answer{Prefix: "near", Alternates: "far", Reason: reasonEarliest}, ""},
		{"absurd size", Size(Request(open, a, b), math.MaxInt64), Answer{Prefix: "far", Alternates: "near", Reason: reasonEarliest}, ""},
	})
}

// A stream of datagrams goes where it is heard best, whatever the rates are; it needs the
// rate that is left over.
func TestStreamOfDatagrams(t *testing.T) {
	p := Make(New)(t)
	r := Request(policy.SocketConnect,
		A(Quality(2, 0.05), Down(12.5e6, 0), SMA(12.5e6, 12.5e6, 12.5e6, 12.5e6)), B(RTT(30, 30, 1), Quality(2, 0), Down(1.25e6, 0), SMA(1.25e6, 1.25e6, 1.25e6, 1.25e6)))
	r.Network.Transport = policy.Datagram
	r.Intents = r.Intents.WithCategory(intent.CategoryStream)
	if d := p.Choose(r); Name(d.Prefix) != "b" || d.Reason != datagrams.Reason || d.Token != 0 {
		t.Errorf("a call: %+v", d)
	}
	r.Intents = r.Intents.WithBitrateBitsPerSecond(50_000_000)
	if d := p.Choose(r); Name(d.Prefix) != "a" || d.Reason != datagrams.Reason {
		t.Errorf("more than fits: %+v", d)
	}
	r.Intents = intent.Set{}.WithCategory(intent.CategoryQuery)
	if d := p.Choose(r); d.Reason == datagrams.Reason {
		t.Errorf("a query: %s", d.Reason)
	}
	r.Intents = intent.Set{}.WithCategory(intent.CategoryStream)
	if r.Network.Transport = policy.Stream; p.Choose(r).Reason == datagrams.Reason {
		t.Error("TCP counts as datagrams")
	}
}

// Transfers under way count before any measurement shows them.
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
	// Much later the transfers are over.
	r := Size(Request(open, a, b), 50_000)
	r.Now = Now().Add(time.Hour)
	if d := p.Choose(r); d.Prefix != a || d.Scores[0].Terms[2].Value != 0 {
		t.Errorf("an hour later: %s, scores %+v", Name(d.Prefix), d.Scores)
	}
}

// A transfer may go elsewhere to spare others, even if it would be a little faster
// beside them.
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
	background.Intents = background.Intents.WithTimeliness(intent.TimelinessBackgroundTraffic)
	if n := needOf(background.Intents); n.harm <= needOf(intent.Set{}).harm {
		t.Errorf("background traffic counts the delay of others %v times", n.harm)
	}
}

// A transfer does not spare others so much that it is over long after all of them.
func TestLaggard(t *testing.T) {
	p := Make(New)(t)
	a, b := near(), far(RTT(550, 550, 0))
	l := p.(*Policy).link(a)
	observe(l, 0, a)
	for range 9 {
		l.add(transfer{left: 40e3, most: math.Inf(1), until: time.Hour})
	}
	d := p.Choose(Size(Request(open, a, b), 130_000))
	if d.Prefix != a || d.Scores[1].Predicted < 3*time.Second || d.Scores[0].Predicted > 2100*ms {
		t.Errorf("%s: %s, scores %+v", Name(d.Prefix), d.Reason, d.Scores)
	}
}

// If nothing is known, the default network gets most transfers. The other network gets
// at most an initial window until something has come over it.
func TestColdStart(t *testing.T) {
	p := Make(New)(t)
	a, b := Prefix("a", "10.0.1.2/24", Default), Prefix("b", "10.0.2.2/24")
	under := map[string]float64{}
	for i := range 17 {
		d := p.Choose(Size(Request(open, a, b), 6000))
		if i == 0 && d.Prefix != a {
			t.Errorf("the first one goes over %s", Name(d.Prefix))
		}
		under[Name(d.Prefix)] += 6000
		if v := d.Scores[0].Terms[0].Value; v == v {
			t.Errorf("an unknown round-trip time is shown as %v", v)
		}
	}
	if under["b"] == 0 || under["b"] > predict.InitialWindow {
		t.Errorf("under way: %v", under)
	}
	if d := p.Choose(Size(Request(open, a, b), 60_000)); Name(d.Prefix) != "a" || d.Scores[1].Note != "to be tried with little first" {
		t.Errorf("60 kB go over %s, scores %+v", Name(d.Prefix), d.Scores)
	}
	for _, tt := range []struct {
		name string
		a, b *policy.Prefix
	}{
		{"something came over the other", a, Prefix("b", "10.0.2.2/24", RTT(50, 50, 1), Down(2e6, 1e6))},
		{"the default network is known to be slow", Prefix("a", "10.0.1.2/24", Default, RTT(10, 10, 1), Down(60e3, 0), loaded), b},
		{"the default network is suspect", Prefix("a", "10.0.1.2/24", Default, suspect), b},
		{"there is no default network", Prefix("a", "10.0.1.2/24"), b},
	} {
		p := Make(New)(t)
		over := map[string]int{}
		for range 8 {
			over[Name(p.Choose(Size(Request(open, tt.a, tt.b), 60_000)).Prefix)]++
		}
		if over["b"] < 3 {
			t.Errorf("%s: %v", tt.name, over)
		}
	}
}

// If the default network turns out to be slow while a page is loaded, it is no longer
// used.
func TestColdStartOverSlowDefault(t *testing.T) {
	p := Make(New)(t)
	a, b := Prefix("a", "10.0.1.2/24", Default), Prefix("b", "10.0.2.2/24")
	p.Choose(Size(Request(open, a, b), 12_000))
	slow := Prefix("a", "10.0.1.2/24", Default, RTT(10, 10, 1), Down(60e3, 60e3))
	slow.Link.Time, slow.Link.DownBytes, slow.Link.DownSMA = Now().Add(200*ms), 11e3, 11e3
	over := map[string]int{}
	for range 8 {
		r := Size(Request(open, slow, b), 20_000)
		r.Now = Now().Add(250 * ms)
		over[Name(p.Choose(r).Prefix)]++
	}
	if over["b"] < 6 {
		t.Errorf("%v", over)
	}
}

// A link that was never loaded has at least the capacity that it showed. As time goes
// on, the assumed capacity is at most a few times that.
func TestAssumedCapacity(t *testing.T) {
	for _, tt := range []struct {
		name        string
		edits       []func(*policy.Prefix)
		least, most float64
	}{
		{"unknown", nil, 300e3, 400e3},
		{"unknown default", []func(*policy.Prefix){Default}, 900e3, 1.1e6},
		{"one packet", []func(*policy.Prefix){Down(15e3, 0)}, 300e3, 400e3},
		{"a page", []func(*policy.Prefix){Down(500e3, 0)}, 1.5e6, 2e6},
		{"fast", []func(*policy.Prefix){Down(12e6, 0)}, 12e6, 12e6},
		{"as fast as others hardly are", []func(*policy.Prefix){Down(100e6, 0)}, 100e6, 100e6},
		{"loaded", []func(*policy.Prefix){Down(60e3, 0), loaded}, 60e3, 60e3},
		{"a trickle", []func(*policy.Prefix){Down(3e3, 0), loaded}, 300e3, 400e3},
	} {
		e := estimateOf(Prefix("a", "10.0.1.2/24", tt.edits...))
		if e.capacity < tt.least || e.capacity > tt.most || e.assumed != (tt.name != "loaded") {
			t.Errorf("%s: %+v", tt.name, e)
		}
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

// This decides with a browser's transfers under way on each of four prefixes.
func BenchmarkChoose(b *testing.B) {
	p, err := New(policy.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var list []*policy.Prefix
	for i := range 4 {
		q := Prefix(fmt.Sprintf("p%d", i), fmt.Sprintf("10.0.%d.2/24", i), RTT(20, 20, 0), Down(1e6, 0), loaded)
		observe(p.(*Policy).link(q), 0, q)
		list = append(list, q)
	}
	r := Size(Request(open, list...), 50_000)
	for b.Loop() {
		for _, q := range list {
			l := p.(*Policy).link(q)
			for len(l.transfers) < 17 {
				l.add(l.transfer(float64(1000*len(l.transfers)), 20*time.Millisecond, 2, 0))
			}
			l.transfers = l.transfers[:17]
		}
		p.Choose(r)
	}
}
