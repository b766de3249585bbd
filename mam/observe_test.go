package mam

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

// pupil is a policy that notes what it is told.
type pupil struct {
	measured []int // number of prefixes in each call
	ended    []policy.Transfer
}

func (p *pupil) Choose(r *policy.Request) policy.Decision {
	return policy.Decision{
		Prefix: r.Prefixes[0], Alternates: r.Prefixes[1:2], Token: 42, Race: true,
		Scores: []policy.Score{{Prefix: r.Prefixes[0], Predicted: time.Second}, {Prefix: r.Prefixes[1], Predicted: time.Minute}},
	}
}
func (p *pupil) Measured(list []*policy.Prefix, _ time.Time) {
	p.measured = append(p.measured, len(list))
}
func (p *pupil) Ended(t *policy.Transfer) { p.ended = append(p.ended, *t) }

// A policy that observes is told of measurements, and of the transfers that followed
// from its own decisions. Clients are told to race.
func TestObserver(t *testing.T) {
	p := &pupil{}
	v := host(p)
	var noted []string
	d := start(t, v, Options{OnTransfer: func(name string, x *policy.Transfer) {
		noted = append(noted, fmt.Sprint(name, " ", x.Token, " ", x.Bytes))
	}})
	d.Measured(time.Now())
	c := d.dial(t)
	m := socketConnectTo("four.test", "443")
	m.Features = wire.FeatureReports | wire.FeatureAlternates
	answer := c.ask(m)
	if !answer.Race {
		t.Error("the client is not told to race")
	}
	id := answer.DecisionID
	report := func(x wire.Transfer) {
		c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: wire.FeatureReports, DecisionID: id, Transfer: &x})
	}
	report(wire.Transfer{Bytes: 1000, Microseconds: 2000, Connect: 30, RTT: 40, MinRTT: 50})
	report(wire.Transfer{Candidate: 1, Bytes: 5, MinRTT: math.MaxUint32, Flags: wire.TransferReused | wire.TransferPartial})
	report(wire.Transfer{Candidate: 7})
	report(wire.Transfer{Candidate: -1})
	_, _ = v.Runner.call(nil, func(policy.Policy) {})
	v2 := host(p) // made again, as at a reload: the token means another decision now
	d.Publish(v2)
	report(wire.Transfer{Bytes: 3})
	id[15]++ // an unknown id
	report(wire.Transfer{Bytes: 1})
	_, _ = v2.Runner.call(nil, func(policy.Policy) {}) // waits until no call is under way
	same := func(x policy.Transfer) policy.Transfer {
		x.Token, x.Host, x.Kind, x.Port = 42, "four.test", policy.SocketConnect, 0
		return x
	}
	const us = time.Microsecond
	want := []policy.Transfer{
		same(policy.Transfer{Prefix: v.Prefixes[0], Bytes: 1000, Duration: 2000 * us, Connect: 30 * us, RTT: 40 * us, MinRTT: 50 * us, Predicted: time.Second}),
		same(policy.Transfer{Prefix: v.Prefixes[1], Bytes: 5, Reused: true, Partial: true, Predicted: time.Minute}),
		same(policy.Transfer{}), same(policy.Transfer{}),
		same(policy.Transfer{Prefix: v2.Prefixes[0], Bytes: 3, Predicted: time.Second}),
	}
	want[4].Token = 0
	if diff := cmp.Diff([]string{"test 42 1000", "test 42 5", "test 42 0", "test 42 0", "test 0 3"}, noted); diff != "" {
		t.Errorf("noted (-want +got)\n%s", diff)
	}
	byID := cmp.Comparer(func(a, b *policy.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, p.ended, byID, cmpopts.IgnoreFields(policy.Transfer{}, "App", "End", "Intents", "Remote"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("user %d: (-want +got)\n%s", os.Getuid(), diff)
	}
	for i := range p.ended {
		if app := p.ended[i].App; app.UID != uint32(os.Getuid()) || app.PID != uint32(os.Getpid()) {
			t.Errorf("transfer %d is of %+v", i, app)
		}
	}
	if diff := cmp.Diff([]int{4}, p.measured); diff != "" {
		t.Errorf("measured (-want +got)\n%s", diff)
	}
}

// What was measured of a connection is told like a report, and only if its client does not
// report that.
func TestMeasuredTransfer(t *testing.T) {
	p := &pupil{}
	v := host(p)
	var noted []string
	d := start(t, v, Options{OnTransfer: func(name string, x *policy.Transfer) {
		noted = append(noted, fmt.Sprint(name, " ", x.Measured, " ", x.Bytes))
	}})
	c := d.dial(t)
	decide := func(f wire.Features) uuid.UUID {
		m := socketConnectTo("four.test", "443")
		m.Features = wire.FeatureReports | f
		return c.ask(m).DecisionID
	}
	report := func(id uuid.UUID, bytes uint64) {
		c.ask(&wire.Message{Action: wire.ActionReportRequest, Features: wire.FeatureReports, DecisionID: id, Transfer: &wire.Transfer{Bytes: bytes}})
	}
	measured := func(id uuid.UUID, over int, bytes uint64) {
		d.TransferMeasured(id, &Measurement{Over: v.Prefixes[over].ID, Bytes: bytes, Duration: 7, RTT: 6, MinRTT: 5, End: time.Unix(9, 0)})
	}
	announced, unannounced, silent, second := decide(wire.FeatureTransfers), decide(0), decide(0), decide(0)
	report(announced, 1)
	measured(announced, 0, 2)
	report(announced, 3) // of another use
	report(unannounced, 4)
	measured(unannounced, 0, 5)
	measured(silent, 0, 6)
	measured(silent, 0, 7)
	report(silent, 8)
	measured(second, 1, 9)
	measured(uuid.New(), 0, 10)
	if diff := cmp.Diff([]string{"test false 1", "test false 3", "test false 4", "test true 6", "test true 9"}, noted); diff != "" {
		t.Errorf("noted (-want +got)\n%s", diff)
	}
	var got []policy.Transfer
	_, _ = v.Runner.call(nil, func(policy.Policy) { got = append(got, p.ended...) })
	if len(got) != 5 {
		t.Fatalf("%d transfers are told", len(got))
	}
	for _, x := range []struct {
		i, over   int
		predicted time.Duration
	}{{3, 0, time.Second}, {4, 1, time.Minute}} {
		g := got[x.i]
		if !g.Measured || g.Token != 42 || g.Host != "four.test" || g.Prefix != v.Prefixes[x.over] || g.Predicted != x.predicted ||
			g.Duration != 7 || g.RTT != 6 || g.MinRTT != 5 || !g.End.Equal(time.Unix(9, 0)) || g.App.UID != uint32(os.Getuid()) {
			t.Errorf("%+v", g)
		}
	}
	late := decide(0)
	v2 := host(p)
	d.Publish(v2)
	d.TransferMeasured(late, &Measurement{Over: v2.Prefixes[0].ID, Bytes: 11})
	_, _ = v2.Runner.call(nil, func(policy.Policy) { got = append(got[:0], p.ended...) })
	if last := got[len(got)-1]; last.Bytes != 11 || last.Token != 0 { // the new policy has given the token to another decision
		t.Errorf("of another policy: %+v", last)
	}
}
