package mam

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
	report(wire.Transfer{Candidate: 1, Bytes: 5, Flags: wire.TransferReused | wire.TransferPartial})
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
