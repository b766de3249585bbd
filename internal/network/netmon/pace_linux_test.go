package netmon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	now := time.Unix(1000, 0)
	var p pace
	for _, step := range []struct {
		name   string
		cost   time.Duration // of the last read
		failed bool
		idle   time.Duration // since it ended
		want   time.Duration
	}{
		{"cheap", ms, false, 0, 20 * ms},
		{"expensive", 100 * ms, false, 0, 400 * ms},
		{"expensive, but long ago", 100 * ms, false, time.Second, 20 * ms},
		{"first failure", ms, true, 0, 100 * ms},
		{"second failure", ms, true, 0, 200 * ms},
		{"third failure", ms, true, 0, 400 * ms},
		{"success again", ms, false, 0, 20 * ms},
	} {
		p.done(now.Add(-step.cost), now, step.failed)
		if got := p.wait(now.Add(step.idle), 20*ms); got != step.want {
			t.Errorf("%s: wait %v, want %v", step.name, got, step.want)
		}
	}
	for range 20 {
		p.done(now, now, true)
	}
	if got := p.wait(now, 20*ms); got != 5*time.Second {
		t.Errorf("after many failures: wait %v, want 5s", got)
	}
}

// Where only answers may have changed, they are not asked for again at once after each of many
// events. Nothing else waits for that.
func TestSettle(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		since time.Duration // since the last read
		first part          // what the first event is about
		after func(m *Monitor)
		want  time.Duration
	}{
		{"a route to one destination", time.Hour, 0, nil, 20 * ms},
		{"one of many", 50 * ms, 0, nil, 220 * ms},
		{"a link", 50 * ms, partLinks, nil, 20 * ms},
		{"a rule after one of many routes", 50 * ms, 0, func(m *Monitor) { m.changed.Or(uint32(partRules)); notify(m.parts) }, 50 * ms},
		{"a lost carrier after one of many routes", 50 * ms, 0, func(m *Monitor) { notify(m.hurry) }, 30 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &Monitor{debounce: 20 * ms, hurry: make(chan struct{}, 1), parts: make(chan struct{}, 1)}
				var p pace
				p.done(time.Now(), time.Now(), false)
				time.Sleep(tt.since)
				m.changed.Store(uint32(tt.first))
				notify(m.parts) // left from an event that was handled
				if tt.after != nil {
					time.AfterFunc(30*ms, func() { tt.after(m) })
				}
				begin := time.Now()
				if !m.settle(t.Context(), &p) || time.Since(begin) != tt.want {
					t.Errorf("waits %v, want %v", time.Since(begin), tt.want)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := &Monitor{debounce: time.Hour}
	if m.settle(ctx, &pace{end: time.Now()}) {
		t.Error("it settles though it is to end")
	}
}
