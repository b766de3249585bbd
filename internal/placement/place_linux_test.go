package placement

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/client"
)

// While one receiver handles a call, another one waits for the next only if handling has to
// wait for something, and calls queue up. As many calls as there are receivers are handled at once. When they
// are over, one receiver is left.
func TestReceivers(t *testing.T) { synctest.Test(t, testReceivers) }

func testReceivers(t *testing.T) {
	r, started := newReceiving(nil), 0
	r.start = func() { started++ }
	for range 3 {
		if r.busy(time.Now(), false); r.waiting != 0 || started != 0 {
			t.Fatalf("with a call: %d wait, %d were started", r.waiting, started)
		}
		if r.enough() {
			t.Fatal("the only one has ended")
		}
	}
	for n := range receivers {
		if r.waiting != 1 {
			t.Fatalf("%d wait for a call while %d are handled", r.waiting, n)
		}
		r.busy(time.Now(), true)
		r.blocks()
		r.blocks() // once more, by the same one
	}
	if started != receivers-1 || r.waiting != 0 {
		t.Errorf("%d were started, and %d wait; want %d and none", started, r.waiting, receivers-1)
	}
	ended := 0
	for range receivers {
		if r.enough() {
			ended++
		}
	}
	if r.waiting != 1 || r.all != 1 || ended != receivers-1 {
		t.Errorf("%d of %d wait, and %d have ended; want 1, 1 and %d", r.waiting, r.all, ended, receivers-1)
	}
}

// While calls queue up, further receivers wait for calls, as many as there are processors for
// at most. When calls pause again, one is left.
func TestReceiversOfACrowd(t *testing.T) { synctest.Test(t, testReceiversOfACrowd) }

func testReceiversOfACrowd(t *testing.T) {
	r, started := newReceiving(nil), 0
	r.most = 3
	r.start = func() { started++ }
	for range 20 * maxCrowd {
		r.busy(time.Now(), true)
		r.enough()
	}
	if started != 2 || r.wanted != 3 || r.waiting != 3 {
		t.Errorf("in a crowd: %d were started, and %d of %d wait; want 2, 3 of 3", started, r.waiting, r.wanted)
	}
	ended := 0
	for range 20 * maxCrowd {
		r.busy(time.Now(), false)
		if r.enough() {
			ended++
		}
	}
	if ended != 2 || r.wanted != 1 || r.waiting != 1 || r.all != 1 {
		t.Errorf("after it: %d have ended, and %d of %d wait, of %d; want 2, 1 of 1, of 1", ended, r.waiting, r.wanted, r.all)
	}
	for range maxCrowd * 10 { // a call that is there already comes now and then
		for _, queued := range []bool{true, false, false} {
			r.busy(time.Now(), queued)
			r.enough()
		}
	}
	if started != 2 || r.all != 1 {
		t.Errorf("without a crowd: %d were started, %d are there", started, r.all)
	}
}

// A receiver that is stuck in a call, and did not say so before, is replaced. Nothing goes on
// when nobody calls.
func TestReceiverThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, started := newReceiving(nil), 0
		r.start = func() { started++ }
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if started != want {
				t.Errorf("%s: %d were started, want %d", when, started, want)
			}
		}
		for range 1000 { // for a second, none of which is stuck
			r.busy(time.Now(), false)
			time.Sleep(time.Millisecond)
			r.enough()
		}
		check("quick calls", 0)
		for range 1000 { // for two seconds, each with a question to a manager
			r.busy(time.Now(), false)
			r.blocks()
			time.Sleep(2 * time.Millisecond)
			r.enough()
		}
		check("questions of one thread", 0)
		r.busy(time.Now(), false)
		time.Sleep(3 * stuckAfter)
		check("a slow call", 1)
		r.busy(time.Now(), false)
		time.Sleep(3 * stuckAfter)
		check("a second slow call", 2)
		r.enough()
		r.enough()
		time.Sleep(time.Second)
		check("all are over", 2)
		if r.watched || r.waiting != 1 || r.all != 1 {
			t.Errorf("it is watched: %t; %d of %d wait", r.watched, r.waiting, r.all)
		}
	})
}

// Whoever waits with the context of a decision makes another receiver start, and nobody
// else does.
func TestAsking(t *testing.T) {
	for name, wait := range map[string]func(context.Context){
		"a time limit":  func(ctx context.Context) { _, _ = ctx.Deadline() },
		"cancellation":  func(ctx context.Context) { _ = ctx.Done() },
		"both, derived": func(ctx context.Context) { _, cancel := context.WithCancel(ctx); cancel() },
	} {
		t.Run(name, inBubble(func(t *testing.T) {
			r, started := newReceiving(nil), 0
			r.start = func() { started++ }
			r.busy(time.Now(), true)
			ctx := client.WithOrigin(asking{context.Background(), r}, client.Origin{PID: 1})
			if err := ctx.Err(); err != nil || started != 0 {
				t.Fatalf("%v, %d were started before anybody waits", err, started)
			}
			if wait(ctx); started != 1 {
				t.Errorf("%d were started", started)
			}
		}))
	}
}

// inBubble makes time stand still unless a test sleeps.
func inBubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}
