package pathstat

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// observedOf is what the kernel says by itself of a connection.
func observedOf(c tcpSocket) Observed {
	return Observed{Local: c.Local, Remote: c.Remote, Device: c.Device, Cookie: c.Cookie, Segments: c.Segments, Sample: c.Sample}
}

// Where the kernel says by itself how connections fare, their figures are those of each pass,
// and the list of connections is read only to reconcile, also if it has connections that are not
// observed. It is read as often as without that if these are too many, while somebody follows
// connections, and while a connection gets no answer.
func TestObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flows []Observed // guarded by the bench's lock, except that the sampler reads it in passes
		works := true
		w := &scribe{}
		var b *bench
		b = start(t, Options{Watcher: w, MaxInterval: -1, CPU: 1, Observe: func(visit func(*Observed)) bool {
			b.kernel.mu.Lock()
			defer b.kernel.mu.Unlock()
			for i := range flows {
				visit(&flows[i])
			}
			return works
		}}, nil)
		first, foreign := conn("10.0.1.2", "192.0.2.1", 10, 5), conn("10.9.9.9", "192.0.2.1", 1, 5)
		first.Cookie, foreign.Cookie = 1, 2
		b.kernel.sockets = []tcpSocket{first, foreign} // nobody manages the network of the second one
		flows = []Observed{observedOf(first)}
		b.Set(home)
		b.wait(DefaultInterval)
		dumps := func(what string, d time.Duration, least, most int) {
			t.Helper()
			before := b.kernel.dumps
			b.wait(d)
			if n := b.kernel.dumps - before; n < least || n > most {
				t.Errorf("%s: %d dumps in %v, want %d to %d", what, n, d, least, most)
			}
		}
		rtt := func(what string, want time.Duration) {
			t.Helper()
			b.wait(DefaultInterval)
			if got := b.Snapshot().Paths[eth]; got.SRTTMedian != want || got.Conns != 1 {
				t.Errorf("%s: %+v, want a median of %v", what, got, want)
			}
			if got := b.Snapshot().Destination(eth, netip.MustParseAddr("192.0.2.1")); got.SRTTMedian != want {
				t.Errorf("%s: to the destination %+v, want a median of %v", what, got, want)
			}
		}
		const ten = 10 * time.Second // a hundred passes
		dumps("observed", ten, 4, 6)
		flows[0].Sample.RTT, flows[0].Sample.Lost, flows[0].Sample.Sent = 30_000, 1, 10
		rtt("a new round-trip time", 30*time.Millisecond)
		if got := b.Snapshot().Paths[eth]; got.LossUp != 0.1 {
			t.Errorf("loss %v, want 0.1", got.LossUp)
		}
		w.following = true
		dumps("followed", ten, 95, 105)
		w.following = false
		flows[0].Timeouts = stallRetransmits
		dumps("without an answer", ten, 95, 105)
		flows[0].Timeouts = 0
		dumps("observed again", ten, 4, 6)

		old := conn("10.0.2.2", "192.0.2.1", 20, 5)
		old.Cookie = 3
		b.kernel.sockets = append(b.kernel.sockets, old)
		b.wait(2 * reconcile)
		dumps("a connection that is not observed", ten, 4, 6)
		for range 2 * int(reconcile/DefaultInterval) { // passes with a dump, and many without
			b.wait(DefaultInterval)
			if got := b.Snapshot().Paths[wlan]; got.SRTTMedian != 20*time.Millisecond || got.Conns != 1 {
				t.Fatalf("it has %+v", got)
			}
		}
		rtt("the other one, which is observed", 30*time.Millisecond)
		b.kernel.sockets[2].Stalled = true
		b.wait(2 * reconcile)
		dumps("it gets no answer", ten, 95, 105)
		b.kernel.sockets[2].Stalled = false
		dumps("it gets an answer", ten, 4, 6)
		b.kernel.sockets = b.kernel.sockets[:2]
		b.wait(2 * reconcile)
		if got := b.Snapshot().Paths[wlan]; got.Conns != 0 {
			t.Errorf("when it has ended: %+v", got)
		}
		few := b.kernel.sockets
		for i := range maxMissed {
			old.Cookie = uint64(10 + i)
			b.kernel.sockets = append(b.kernel.sockets, old)
		}
		b.wait(2 * reconcile)
		dumps("more than are remembered", ten, 95, 105)
		b.kernel.sockets = few
		dumps("without them", ten, 4, 6)
		w.said = nil
		gone := first
		b.kernel.sockets, b.kernel.ended, flows = nil, []tcpSocket{gone}, nil
		b.wait(DefaultInterval)
		if len(w.said) == 0 || w.said[0] != "ended eth0 10.0.1.2:0>192.0.2.1:0 0 bytes" {
			t.Errorf("of a connection that has ended: %q", w.said)
		}
		works = false
		dumps("without observations", ten, 95, 105)
	})
}

// Looking at observed connections takes no more of a processor than dumps may take.
func TestObservingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		b := start(t, Options{MaxInterval: -1, CPU: 0.01, Observe: func(func(*Observed)) bool {
			time.Sleep(10 * time.Millisecond)
			calls.Add(1)
			return true
		}}, nil)
		b.Set(home)
		b.wait(DefaultInterval)
		before := calls.Load()
		b.wait(30 * time.Second) // three hundred passes
		if n := calls.Load() - before; n < 15 || n > 45 {
			t.Errorf("%d times in 30 s, each of 10 ms, for a hundredth of a processor and the dumps besides", n)
		}
	})
}
