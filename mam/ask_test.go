package mam

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"net/netip"

	"github.com/socket-intents/mamma/internal/wire"
	"github.com/socket-intents/mamma/policy"
)

func manager(t *testing.T, v *View, opts Options) *Manager {
	t.Helper()
	m := New(opts)
	m.Publish(v)
	return m
}

func question(remote string) Question {
	return Question{Kind: policy.Connect, Network: policy.Network{Family: policy.IPv4}, Remote: netip.MustParseAddrPort(remote)}
}

// The current policy is asked with what the connection is about. Nothing is recorded
// until the decision is reported as used.
func TestAsk(t *testing.T) {
	var asked []policy.Request
	var kept int
	v := host(chooser(func(r *policy.Request) policy.Decision { asked = append(asked, *r); return takeFirst(r) }))
	v.Devices = map[policy.PrefixID]string{v.Prefixes[0].ID: v.Prefixes[0].Interface}
	m := manager(t, v, Options{OnDecision: func(*Record) { kept++ }})
	q := question("192.0.2.1:80")
	q.App = policy.App{UID: 1000, PID: 77, Command: "curl"}
	a, err := m.Ask(q, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := v.Prefixes[0]
	if a.Source != p.Addr() || a.Device != p.Interface || a.Interface != p.Interface || a.Record.Decision.Prefix != p {
		t.Errorf("%+v", a)
	}
	if x := v.Prefixes[1]; len(a.Alternates) != 1 || a.Alternates[0] != (Binding{x.Addr(), "", x.Interface}) || a.Record.Decision.Alternates[0] != x {
		t.Errorf("alternates: %+v of %+v", a.Alternates, a.Record.Decision.Alternates)
	}
	if len(asked) != 1 || asked[0].Remote != q.Remote || asked[0].App != q.App {
		t.Errorf("the policy was asked %+v", asked)
	}
	if n := m.Decisions().Count(); n != 0 || kept != 0 {
		t.Errorf("%d decisions are remembered, %d told of", n, kept)
	}
	rec := m.Remember(a.Record)
	if got, ok := m.Decisions().Get(rec.ID); !ok || got.Seq != 1 || kept != 1 || got.App != q.App {
		t.Errorf("remembered: %+v, told of %d", got, kept)
	}
}

// The connection's own selection holds, even without a policy.
func TestAskSelection(t *testing.T) {
	for _, p := range []policy.Policy{nil, chooser(takeFirst)} {
		v := host(p)
		if p == nil {
			v.Runner = nil
		}
		second := v.Prefixes[1]
		m := manager(t, v, Options{})
		q := question("192.0.2.1:80")
		q.Selection = []wire.Preference{{Want: wire.WantRequire, Kind: wire.ByInterface, Name: second.Interface}}
		a, err := m.Ask(q, time.Now())
		if err != nil || a.Interface != second.Interface || !a.Record.Decision.Only || a.Device != second.Interface {
			t.Errorf("policy %v: %+v, %v", p, a, err)
		}
		q.Selection[0].Name = "none0"
		a, err = m.Ask(q, time.Now())
		if err != nil || !a.Record.Refused || a.Source.IsValid() {
			t.Errorf("policy %v, of a network that is not there: %+v, %v", p, a, err)
		}
	}
}

// A policy that never returns does not delay anybody for long.
func TestAskStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		v := host(chooser(func(r *policy.Request) policy.Decision { <-stuck; return takeFirst(r) }))
		m := manager(t, v, Options{})
		ctx := t.Context()
		go m.Run(ctx) //nolint:errcheck // always nil
		a, err := m.Ask(question("192.0.2.1:80"), time.Now())
		if err != nil || !strings.Contains(a.Record.Fallback, "out of service") {
			t.Errorf("%+v, %v", a.Record, err)
		}
		close(stuck)
	})
}

// Without a policy and a selection there is no suggestion.
func TestAskNobody(t *testing.T) {
	v := host(nil)
	v.Runner = nil
	a, err := manager(t, v, Options{}).Ask(question("192.0.2.1:80"), time.Now())
	if err != nil || a.Source.IsValid() || a.Record.Refused || a.Record.Decision.Prefix != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := manager(t, v, Options{}).Ask(Question{Kind: policy.Resolve}, time.Now()); err == nil {
		t.Error("a name is asked about")
	}
}
