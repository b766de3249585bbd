package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/internal/network/routing"
	"github.com/socket-intents/mamma/internal/operator/control"
)

// passes is a kernel in which a pass ends when the test says so, or gives up when its
// context ends.
type passes struct {
	finish chan error

	mu     sync.Mutex
	events []string
}

func (k *passes) note(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, fmt.Sprintf(format, args...))
}

// take returns what has happened since its last call.
func (k *passes) take() []string {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.events
	k.events = nil
	return e
}

func (k *passes) Apply(ctx context.Context, plan routing.Plan) (int, error) {
	name := "nothing"
	if len(plan.Rules) > 0 {
		name = plan.Rules[0].Source.String()
	}
	k.note("begin %s", name)
	if len(plan.Rules) == 0 {
		return 0, nil
	}
	select {
	case err := <-k.finish:
		k.note("end %s", name)
		return 1, err
	case <-ctx.Done():
		k.note("give up %s", name)
		return 0, context.Cause(ctx)
	}
}

func (k *passes) Close() { k.note("close") }

// A pass is given up when another plan is wanted, and when the daemon stops. After a change
// that leaves the plan as it is, the pass goes on to its end, and the kernel is looked at
// again.
func TestRouterGivesUpWhatIsOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &passes{finish: make(chan error)}
		var logged strings.Builder
		var want routing.Plan
		var refuse error
		var before []otherRule
		r := &router{
			log: slog.New(slog.NewTextHandler(&logged, nil)), kernel: k, changed: make(chan struct{}, 1), shown: &routeState{},
			wanted: func() (routing.Plan, error) { return want, refuse },
			others: func() []otherRule { return before },
		}
		become := func(source string) {
			want = routing.Plan{Rules: []routing.Rule{{Source: netip.MustParseAddr(source)}}}
		}
		expect := func(what string, events ...string) {
			t.Helper()
			if diff := cmp.Diff(events, k.take()); diff != "" {
				t.Errorf("%s (-want +got)\n%s", what, diff)
			}
		}
		become("10.0.0.1")
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.run(ctx) }()
		expect("at first", "begin 10.0.0.1")

		r.changed <- struct{}{}
		expect("a change that leaves the plan")
		k.finish <- nil
		expect("at its end it is looked at again", "end 10.0.0.1", "begin 10.0.0.1")

		become("10.0.0.2")
		r.changed <- struct{}{}
		expect("another plan", "give up 10.0.0.1", "begin 10.0.0.2")

		k.finish <- nil
		expect("then nothing is to do", "end 10.0.0.2")

		want, refuse = routing.Plan{}, errors.New("too large")
		r.changed <- struct{}{}
		expect("no plan can be made", "begin nothing")
		if got := r.shown.show(true); got.Error == nil || *got.Error != "too large" || !got.Managed {
			t.Errorf("shown: %+v", got)
		}

		become("10.0.0.3")
		refuse = nil
		before = []otherRule{{"a rule comes before ours", "wwan0: rule 100"}}
		r.changed <- struct{}{}
		expect("it can again", "begin 10.0.0.3")
		r.changed <- struct{}{}
		expect("a change that leaves this plan")

		if got := r.shown.show(true); len(got.Others) != 1 || got.Others[0] != (control.OtherRule{Rule: "wwan0: rule 100", Text: "a rule comes before ours"}) {
			t.Errorf("shown: %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		expect("at the end", "give up 10.0.0.3", "begin nothing", "close")
		got := logged.String()
		if strings.Count(got, "\n") != 2 || !strings.Contains(got, "too large") || !strings.Contains(got, "wwan0: rule 100") {
			t.Errorf("logged: %s", got)
		}
	})
}

// A pass that has failed is tried again after a while. The log says so once.
func TestRouterTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &passes{finish: make(chan error)}
		var logged strings.Builder
		r := &router{
			log: slog.New(slog.NewTextHandler(&logged, nil)), kernel: k, changed: make(chan struct{}, 1), shown: &routeState{},
			others: func() []otherRule { return nil },
			wanted: func() (routing.Plan, error) {
				return routing.Plan{Rules: []routing.Rule{{Source: netip.MustParseAddr("10.0.0.1")}}}, nil
			},
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.run(ctx) }()
		for range 2 {
			k.finish <- errors.New("no")
		}
		synctest.Wait()
		if got := r.shown.show(true); got.Error == nil || *got.Error != "no" {
			t.Errorf("shown after failures: %+v", got)
		}
		k.finish <- nil
		want := slices.Repeat([]string{"begin 10.0.0.1", "end 10.0.0.1"}, 3)
		if diff := cmp.Diff(want, k.take()); diff != "" {
			t.Error(diff)
		}
		if got := r.shown.show(true); got.Error != nil {
			t.Errorf("shown once it has worked: %s", *got.Error)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "trying again") {
			t.Errorf("logged: %s", got)
		}
	})
}
