package netmon

import (
	"testing"
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
