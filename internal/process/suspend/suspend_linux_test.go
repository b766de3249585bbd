package suspend

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each sleep is reported once, whether the kernel reported the clock's jump or watch
// found it. Nothing else is reported.
func TestWatch(t *testing.T) {
	looks := []time.Duration{time.Hour, time.Hour, time.Hour + time.Millisecond, 2 * time.Hour, 2 * time.Hour, 5 * time.Hour}
	at := 0
	slept := func() time.Duration {
		at++
		return looks[at-1]
	}
	changed, tick := make(chan struct{}), make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	var got []time.Duration
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(ctx, slept, changed, tick, func(d time.Duration) { got = append(got, d) })
	}()
	tick <- time.Time{}
	changed <- struct{}{} // somebody has set the clock
	changed <- struct{}{}
	tick <- time.Time{}
	tick <- time.Time{}
	cancel()
	<-done
	if want := []time.Duration{time.Hour - time.Millisecond, 3 * time.Hour}; !slices.Equal(got, want) {
		t.Errorf("slept %v, want %v", got, want)
	}
}

// The kernel's timer can be made, and it ends with the watch.
func TestTimerEndsWithTheWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, func(time.Duration) {}) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	timer, err := openTimer()
	if err != nil {
		t.Fatal(err)
	}
	if err := timer.f.Close(); err != nil {
		t.Error(err)
	}
	if Slept() < 0 {
		t.Errorf("slept %v", Slept())
	}
}
