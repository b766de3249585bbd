package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// seen makes a View at a time after the epoch, in milliseconds.
func seen(ms int, prefixes ...*policy.Prefix) *mam.View {
	return &mam.View{Time: epoch.Add(time.Duration(ms) * time.Millisecond), Prefixes: prefixes}
}

// at returns a network with a round-trip time and a state.
func at(p policy.Prefix, rtt time.Duration, state policy.HealthState) *policy.Prefix {
	p.Stats = policy.PathStats{Time: epoch, SampleTime: epoch, Conns: 1, SRTTMedian: rtt}
	p.Health.State = state
	return &p
}

// remembered is what past tells after the sample since.
func (p *Past) rememberedSince(since uint64) []PrefixHistory {
	list, last, _ := p.networks()
	var out []PrefixHistory
	for _, t := range list {
		out = append(out, p.history(t, since, last))
	}
	return out
}

func rtts(h *PrefixHistory) string {
	b, _ := json.Marshal(h.RTT)
	return string(b)
}

// There is one sample a second, however often Views come. A figure that is missing for a
// moment keeps its value. A figure that is missing for longer is unknown.
func TestSamplesComeOnceASecond(t *testing.T) {
	const ms = time.Millisecond
	wlan, wwan := *network("wlan0", 2, "192.168.0.23/24"), *network("wwan0", 3, "10.64.3.9/10")
	p := NewPast()
	for i := range 10 { // the first of a second counts
		p.Note(seen(100*i, at(wlan, time.Duration(i+1)*ms, policy.Up)), nil)
	}
	p.Note(seen(1050, at(wlan, 20*ms, policy.Up), at(wwan, 50*ms, policy.Up)), nil)
	p.Note(seen(3100, at(wlan, 30*ms, policy.Suspect), at(wwan, 55*ms, policy.Up)), nil) // one is missing
	p.Note(seen(4000, at(wlan, 31*ms, policy.Down)), nil)                                // wwan has gone
	p.Note(seen(10_000, at(wlan, 32*ms, policy.Up)), nil)                                // the host slept

	got := p.rememberedSince(0)
	type row struct {
		Interface   string
		First       uint64
		Gone        bool
		RTT, Health string
	}
	rows := func(list []PrefixHistory) (out []row) {
		for i := range list {
			h := &list[i]
			out = append(out, row{h.Interface, h.First, h.Gone, rtts(h), h.Health})
		}
		return out
	}
	want := []row{
		{"wlan0", 1, false, "[1,20,20,30,31,null,null,null,null,null,32]", "uuusd-----u"},
		{"wwan0", 2, true, "[50,50,55]", "uuu"},
	}
	if diff := cmp.Diff(want, rows(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]row{{"wlan0", 5, false, "[31,null,null,null,null,null,32]", "d-----u"}, {"wwan0", 5, true, "[]", ""}}, rows(p.rememberedSince(4))); diff != "" {
		t.Errorf("since 4 (-want +got):\n%s", diff)
	}
	if _, last, at := p.networks(); last != 11 || !at.Equal(epoch.Add(10*time.Second)) {
		t.Errorf("the latest sample is %d at %v", last, at)
	}
	var changes []string
	for _, c := range p.changesSince(0) {
		changes = append(changes, fmt.Sprint(c.Seq, " ", c.Interface, " ", c.Change, " ", c.Health))
	}
	if want := []string{"1 wwan0 added up", "2 wlan0 health suspect", "3 wlan0 health down", "4 wwan0 removed up", "5 wlan0 health up"}; !slices.Equal(changes, want) {
		t.Errorf("changes are %q, want %q", changes, want)
	}
	if list := p.changesSince(5); len(list) != 1 {
		t.Errorf("%d changes since sample 5", len(list))
	}

	// Ten minutes later, networks that have gone are forgotten, and the others have samples
	// of ten minutes.
	for s := 11; s <= 700; s++ {
		p.Note(seen(1000*s, at(wlan, 33*ms, policy.Up)), nil)
	}
	if list := p.rememberedSince(0); len(list) != 1 || len(list[0].RTT) != pastLen || list[0].First != 701-pastLen+1 || len(list[0].Health) != pastLen {
		t.Errorf("after 700 s: %+v", rows(list))
	}
	if list := p.changesSince(0); len(list) != 0 {
		t.Errorf("after 700 s: %d changes", len(list))
	}
}

// Where no connection lives, a sample has the round-trip time of those that have just ended.
func TestSamplesOfShortConnections(t *testing.T) {
	wlan := *network("wlan0", 2, "192.168.0.23/24")
	p := NewPast()
	ended := map[policy.PrefixID]time.Duration{wlan.ID: 15500 * time.Microsecond}
	p.Note(seen(0, at(wlan, 10*time.Millisecond, policy.Up)), ended) // one lives
	idle := at(wlan, 10*time.Millisecond, policy.Up)
	idle.Stats.Conns = 0
	p.Note(seen(1000, idle), ended)
	p.Note(seen(2000, idle), nil)
	if list := p.rememberedSince(0); len(list) != 1 || rtts(&list[0]) != "[10,15.5,10]" {
		t.Errorf("%+v", list)
	}
}

// However many networks come, go and change, what is remembered is bounded.
// The page shows what has changed about a network after it was loaded again, too: the past
// has what the event stream has.
func TestPastHasWhatServicesSay(t *testing.T) {
	wlan := network("wlan0", 2, "192.168.0.23/24")
	said := func(ms int, facts ...mam.Fact) *mam.View {
		v := seen(ms, wlan)
		v.Told = map[policy.PrefixID]mam.Told{wlan.ID: {Facts: facts}}
		return v
	}
	p := NewPast()
	p.Note(said(0), nil)
	p.Note(said(100, mam.Fact{Name: "gateway", Value: "02:00:00:00:01:00", Source: "kernel"}), nil)
	p.Note(said(200, mam.Fact{Name: "gateway", Value: "02:00:00:00:01:00", Source: "kernel"}, mam.Fact{Name: "bit rate", Value: "54", Measured: true}), nil)
	list := p.changesSince(0)
	if len(list) != 1 || list[0].Change != changeSettings || !slices.Equal(list[0].Differs, []string{DiffersFacts}) {
		t.Errorf("changes are %+v", list)
	}
}

func TestPastIsBounded(t *testing.T) {
	p := NewPast()
	many := func(second, from, n int, state policy.HealthState) *mam.View {
		v := seen(1000 * second)
		for i := range n {
			v.Prefixes = append(v.Prefixes, at(*network("eth0", 2, fmt.Sprintf("10.%d.%d.1/24", (from+i)/256, (from+i)%256)), time.Millisecond, state))
		}
		return v
	}
	p.Note(many(0, 0, pastNetworks+10, policy.Up), nil)
	if n := len(p.rememberedSince(0)); n != pastNetworks {
		t.Errorf("%d networks are remembered", n)
	}
	// New networks take the places of those that have gone.
	p.Note(many(1, 1000, 300, policy.Up), nil)
	p.Note(many(2, 1000, 300, policy.Down), nil)
	there := 0
	for _, h := range p.rememberedSince(0) {
		if !h.Gone {
			there++
		}
	}
	if n := len(p.tracks); n != pastNetworks || there != 300 {
		t.Errorf("%d networks are remembered, %d of them there", n, there)
	}
	if n := len(p.changes); n != pastChanges {
		t.Errorf("%d changes are remembered", n)
	}
}

func TestHistory(t *testing.T) {
	past := NewPast()
	d := start(t, view(), func(o *Options) { o.Past = past })
	c := d.client(t)
	var empty History
	if _, err := c.Get(t.Context(), "/v1/history", &empty); err != nil || empty.Last != 0 || empty.Prefixes == nil || empty.Changes == nil {
		t.Fatalf("%+v, %v", empty, err)
	}
	for s := range 3 {
		v := view()
		v.Time = epoch.Add(time.Duration(s) * time.Second)
		past.Note(v, nil)
	}
	d.as(stranger) // whoever may connect sees networks
	var h History
	raw, err := c.Get(t.Context(), "/v1/history", &h)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "history.json", raw)
	if h.Last != 3 || h.StepMS != 1000 || len(h.Prefixes) != 2 || len(h.Prefixes[0].RTT) != 3 || len(h.Prefixes[1].RTT) != 0 {
		t.Errorf("%+v", h)
	}
	for since, n := range map[uint64]int{2: 1, 3: 0, 1000: 0} {
		if _, err := c.Get(t.Context(), fmt.Sprintf("/v1/history?since=%d", since), &h); err != nil || len(h.Prefixes[0].Down) != n {
			t.Errorf("since %d: %d samples, %v", since, len(h.Prefixes[0].Down), err)
		}
	}
	if _, err := c.Get(t.Context(), "/v1/history?since=x", &h); err == nil || !strings.Contains(err.Error(), "since must be a number") {
		t.Error(err)
	}
	without := start(t, view(), nil)
	var e *RemoteError
	if _, err := without.client(t).Get(t.Context(), "/v1/history", &h); err == nil || !errors.As(err, &e) || e.Status != http.StatusNotImplemented {
		t.Error(err)
	}
}
