package daemon

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/network/hostfacts"
	"github.com/socket-intents/mamma/internal/testing/busbed"
)

// However often a service says that the host wakes, everything is looked at again at most
// once a second, and once more after the last time.
func TestFloodOfWakes(t *testing.T) {
	b := busbed.Start(t, busbed.Anybody)
	logind := b.Connect(t)
	if _, err := logind.RequestName("org.freedesktop.login1", 0); err != nil {
		t.Fatal(err)
	}
	f := hostFacts{hostfacts.New(b.Path, nil)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = f.run(ctx) })
	wakes := make(chan time.Time, 1000)
	wg.Go(func() { _ = f.resumed(ctx, func() { wakes <- time.Now() }) })
	wake := func() {
		if err := logind.Emit("/org/freedesktop/login1", "org.freedesktop.login1.Manager.PrepareForSleep", false); err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var first time.Time
	for first.IsZero() { // until the bus is followed
		wake()
		select {
		case first = <-wakes:
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the bus is not followed")
		}
	}
	for range 1000 {
		wake()
	}
	second := <-wakes
	if gap := second.Sub(first); gap < wakeGap {
		t.Errorf("%v between two", gap)
	}
	if len(wakes) > 0 {
		t.Error("once more at once")
	}
}
