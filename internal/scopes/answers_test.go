package scopes

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/mam"
	"github.com/socket-intents/mamma/policy"
)

// decider gives everybody the same advice.
type decider struct {
	advice mam.Advice
	err    error
}

func (d decider) Ask(mam.Question, time.Time) (mam.Advice, error) { return d.advice, d.err }

func (d decider) Remember(r mam.Record) mam.Record { return r }

// If there is no network, or none is permitted, the connection is refused at once, with the
// error for that. A network that is down is used only if any other would be down, too.
func TestAnswerOfAdvice(t *testing.T) {
	at := func(state policy.HealthState) *policy.Prefix {
		return &policy.Prefix{Interface: "wwan0", Name: "mobile", Health: policy.Health{State: state, Reason: "the link has no carrier"}}
	}
	advice := func(only bool, p *policy.Prefix) mam.Advice {
		a := mam.Advice{Record: mam.Record{Decision: policy.Decision{Only: only, Prefix: p}}}
		if p != nil {
			a.Source, a.Interface = netip.MustParseAddr("10.0.0.2"), p.Interface
		}
		return a
	}
	refused := func(selected bool) mam.Advice {
		return mam.Advice{Record: mam.Record{Refused: true, Selected: selected, Decision: policy.Decision{Only: true}}}
	}
	strict := config.Scope{Wants: []config.Want{{Degree: config.Require, Kind: config.ByNetwork, Name: "mobile"}}}
	for _, tt := range []struct {
		name   string
		scope  config.Scope
		advice mam.Advice
		err    error
		kind   hook.Kind
		errno  unix.Errno
	}{
		{"up", strict, advice(true, at(policy.Up)), nil, hook.Place, 0},
		{"in doubt", strict, advice(true, at(policy.Suspect)), nil, hook.Place, 0},
		{"the only one, down", strict, advice(true, at(policy.Down)), nil, hook.Refuse, unix.ENETUNREACH},
		{"all down", config.Scope{}, advice(false, at(policy.Down)), nil, hook.Place, 0},
		{"none of those permitted is there", strict, refused(true), nil, hook.Refuse, unix.ENETUNREACH},
		{"refused by the policy", config.Scope{}, refused(false), nil, hook.Refuse, 0},
		{"not decided", strict, mam.Advice{}, errors.New("no"), hook.Refuse, unix.ENETUNREACH},
		{"not decided, all permitted", config.Scope{}, mam.Advice{}, errors.New("no"), hook.Leave, 0},
	} {
		e := New(Options{Decider: decider{tt.advice, tt.err}})
		g := e.ask(&scope{Scope: &tt.scope}, hook.TCP, &mam.Question{})
		if g.answer.Kind != tt.kind || g.answer.Errno != tt.errno {
			t.Errorf("%s: %v with %v, want %v with %v", tt.name, g.answer.Kind, g.answer.Errno, tt.kind, tt.errno)
		}
		down := tt.kind == hook.Refuse && tt.advice.Source.IsValid()
		if r := g.advice.Record; down && (!r.Refused || !strings.Contains(r.Decision.Reason, "mobile: the link has no carrier")) {
			t.Errorf("%s: remembered as %+v", tt.name, r)
		}
	}
}

// busyDecider stands for programs that connect as fast as connections are handled.
type busyDecider struct {
	decider
	events chan hook.Event
	more   hook.Event
	seen   int
}

func (d *busyDecider) Remember(r mam.Record) mam.Record {
	if d.seen++; d.seen < 10000 {
		d.events <- d.more
	}
	return r
}

// Run comes to its other work however fast programs connect.
func TestCatchUpEnds(t *testing.T) {
	s, _ := compile(&config.Scope{Name: "some"}, 1)
	r := hook.Event{Key: hook.Key{Scope: 2, Protocol: hook.TCP}, Usual: true, Answer: 7} // of a scope before a reload
	d := &busyDecider{events: make(chan hook.Event, backlog), more: r}
	e := New(Options{Decider: d})
	e.answers, e.events = newAnswers(), d.events
	e.answers.usual[usualOf(&r)] = &given{id: 7, scope: s}
	for range 3 {
		e.events <- r
	}
	if e.catchUp(); d.seen != 3 || len(e.events) != 3 {
		t.Errorf("of 3 records that waited %d were handled, and %d wait now", d.seen, len(e.events))
	}
}
