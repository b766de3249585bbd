package scopes

import (
	"net/netip"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/scopes/hook"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/policy"
)

func TestBudget(t *testing.T) {
	now := time.Now()
	var b budget
	if !b.may(now) {
		t.Error("nothing is there at first")
	}
	b.spend(burst)
	if b.may(now) || b.may(now.Add(-time.Hour)) {
		t.Error("more than all is there")
	}
	if now = now.Add(time.Millisecond); !b.may(now) {
		t.Error("nothing comes with time")
	}
	spent := time.Duration(0)
	for end := now.Add(time.Hour); now.Before(end); now = now.Add(time.Second) {
		for b.may(now) {
			b.spend(2 * time.Millisecond)
			spent += 2 * time.Millisecond
		}
	}
	if want := 3600 * perSecond; spent < want-perSecond || spent > want+perSecond {
		t.Errorf("%v in an hour, want %v", spent, want)
	}
	b.may(now)
	b.spend(time.Hour)
	if now = now.Add(burst / perSecond * time.Second); b.may(now) || !b.may(now.Add(time.Second)) {
		t.Error("the debt is not bounded by a burst")
	}
	if b.may(now.Add(time.Hour)); b.used != 0 {
		t.Errorf("%v is used after a quiet hour", b.used)
	}
}

// Where the budget does not suffice for all destinations, those used last have new answers first,
// and one that is used while its answer is stale has a new one then. Records that name an
// answer that has been replaced are told from those that name the new one.
func TestRenewWithinBudget(t *testing.T) {
	table, err := hook.Load()
	if err != nil {
		required.Lacking(t, "needs what scopes need: %v", err)
	}
	defer table.Close()
	networks := []*testbed.Network{
		{Name: "wlan0", Client4: netip.MustParseAddr("10.1.0.2"), Client6: netip.MustParseAddr("2001:db8:1::2")},
		{Name: "wwan0", Client4: netip.MustParseAddr("10.2.0.2"), Client6: netip.MustParseAddr("2001:db8:2::2")},
	}
	d := &networkDecider{}
	d.network.Store(networks[0])
	e := New(Options{Decider: d})
	e.table, e.answers = table, newAnswers()
	s, _ := compile(&config.Scope{Name: "all"}, 1)
	e.scopes = []*scope{s}
	const many = 3 * slice
	key := func(i int) hook.Key { return hook.Key{Scope: s.id, Remote: destination(i), Protocol: hook.TCP} }
	for i := range many {
		e.askOwn(s, key(i), policy.App{})
	}
	first := func(i int) *own { o, _ := e.answers.own.Peek(key(i)); return o }
	before := first(many - 1).id
	d.network.Store(networks[1])
	e.budget = budget{used: burst - 1, at: time.Now().Add(time.Hour)} // nothing comes with time
	e.askAll()
	check := func(from int) {
		t.Helper()
		for i := range many {
			want := networks[0]
			if i >= from {
				want = networks[1]
			}
			if o := first(i); o.answer.First.Source != want.Client4 || o.stale != (i < from) {
				t.Fatalf("destination %d: %+v, stale: %v; the new ones begin with %d", i, o.answer.First, o.stale, from)
			}
		}
	}
	check(many) // askUsual has taken what there was
	e.budget.used = burst - 1
	e.renew()
	check(many - slice)
	record := hook.Event{Key: key(many - 1), Answer: before, Kind: hook.Place}
	if g := e.answers.find(&record); g == nil || g.answer.First.Source != networks[0].Client4 {
		t.Errorf("the replaced answer is %+v", g)
	}
	record.Answer = first(many - 1).id
	if g := e.answers.find(&record); g == nil || g.answer.First.Source != networks[1].Client4 {
		t.Errorf("the new answer is %+v", g)
	}
	if record.Answer = 1 << 40; e.answers.find(&record) != nil {
		t.Error("an answer that was never given is known")
	}
	e.placed(hook.Event{Key: key(7), Answer: first(7).id, Kind: hook.Place})
	if o := first(7); o.stale || o.answer.First.Source != networks[1].Client4 {
		t.Errorf("used while stale: %+v, stale: %v", o.answer.First, o.stale)
	}
	id := first(8).id
	e.answers.own.Remove(key(8)) // meanwhile
	if g := e.answers.find(&hook.Event{Key: key(8), Answer: id}); g == nil || g.id != id {
		t.Errorf("the removed answer is %+v", g)
	}
	e.budget = budget{}
	e.renew()
	if e.askOwn(s, key(8), policy.App{}); e.err != nil || len(e.stale) > 0 {
		t.Error(e.err, len(e.stale))
	}
	check(0)
}
