package pathstat

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
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
// observed. It is read as often as without that if these are too many, and while a connection gets
// no answer.
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

// A watcher that follows connections hears of all of them at each pass, and the list is read to
// reconcile only: the kernel tells which have begun and ended, and is asked about those that are new
// or followed.
func TestFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flows []Observed // guarded by the bench's lock, except that the sampler reads it in passes
		w := &scribe{following: true, wants: map[uint64]bool{1: true}}
		var b *bench
		b = start(t, Options{Watcher: w, MaxInterval: -1, CPU: 1, Observe: func(visit func(*Observed)) bool {
			b.kernel.mu.Lock()
			defer b.kernel.mu.Unlock()
			for i := range flows {
				visit(&flows[i])
			}
			return true
		}}, nil)
		make := func(cookie uint64) {
			c := conn("10.0.1.2", "192.0.2.1", 10, 5)
			c.Cookie, c.UID, c.Inode, c.LocalPort, c.RemotePort = cookie, 1000, uint32(cookie), uint16(cookie), 80
			b.kernel.sockets, flows = append(b.kernel.sockets, c), append(flows, observedOf(c))
		}
		make(1)
		make(2)
		b.Set(home)
		b.wait(DefaultInterval)
		pass := func(what string, dumps, asked int, want ...string) {
			t.Helper()
			w.said = nil
			d, a := b.kernel.dumps, b.kernel.asked
			b.wait(DefaultInterval)
			if d, a = b.kernel.dumps-d, b.kernel.asked-a; d != dumps || a != asked || !slices.Equal(w.said, want) {
				t.Errorf("%s: %d dumps, %d questions, %q, want %d, %d, %q", what, d, a, w.said, dumps, asked, want)
			}
		}
		line := func(cookie, received int, old bool) string {
			return fmt.Sprintf("eth0 10.0.1.2:%d>192.0.2.1:80 1000:%d %d bytes, old: %t", cookie, cookie, received, old)
		}
		w.figures = true
		b.kernel.sockets[0].BytesReceived, b.kernel.sockets[1].BytesReceived = 7, 7
		pass("one of two is followed", 0, 1, "begin", line(1, 7, false), line(2, 0, true), "end true")
		make(3)
		pass("a new one", 0, 2, "begin", line(1, 7, false), line(2, 0, true), line(3, 0, false), "end true")
		w.wants[2] = true // the watcher says so when it hears of it
		pass("another one is wanted", 0, 1, "begin", line(1, 7, false), line(2, 0, true), line(3, 0, true), "end true")
		pass("another one is followed", 0, 2, "begin", line(1, 7, false), line(2, 7, false), line(3, 0, true), "end true")
		gone := b.kernel.sockets[0]
		b.kernel.sockets, b.kernel.ended, flows = b.kernel.sockets[1:], []tcpSocket{gone}, flows[1:]
		pass("one has ended", 0, 1, "ended eth0 10.0.1.2:1>192.0.2.1:80 7 bytes", "begin", line(3, 0, true), line(2, 7, false), "end true")
		b.kernel.sockets = b.kernel.sockets[:1] // the kernel has lost the message
		flows = flows[:1]
		pass("one has ended without a word", 0, 1, "begin", line(2, 7, false), "end true")
		b.kernel.sockets = nil
		pass("one ends during the pass", 0, 1, "begin", "end true")
		flows = nil
		pass("none is left", 0, 0, "begin", "end true")

		dumps := func(what string, least, most int) {
			t.Helper()
			before := b.kernel.dumps
			b.wait(10 * time.Second) // a hundred passes
			if n := b.kernel.dumps - before; n < least || n > most {
				t.Errorf("%s: %d dumps in 10 s, want %d to %d", what, n, least, most)
			}
		}
		w.said = nil
		make(4)
		dumps("followed", 4, 6)
		if got := b.Snapshot().Paths[eth]; got.Conns != 1 || got.SRTTMedian != 10*time.Millisecond {
			t.Errorf("%+v", got)
		}
		b.kernel.silent = errors.New("no")
		w.wants[4] = true
		b.wait(reconcile)
		dumps("the kernel does not answer", 95, 105)
		b.kernel.silent = nil
		dumps("it answers", 4, 6)
		for i := range uint64(maxAsked) {
			make(100 + i)
			w.wants[100+i] = true
		}
		b.wait(reconcile)
		dumps("too many are followed", 95, 105)
		clear(w.wants)
		b.wait(reconcile)
		dumps("none is followed", 4, 6)
		flows = flows[1:]
		other := conn("10.0.1.2", "192.0.2.1", 10, 5)
		other.Cookie = 99
		b.kernel.sockets[0] = other // of a control group that is left out
		b.wait(2 * reconcile)
		dumps("one has begun that is not observed", 40, 105)
		b.wait(2 * mayBegin)
		dumps("long ago", 4, 6)
	})
}

// The questions about single connections tell the same as a dump does.
func TestSingle(t *testing.T) {
	p := connect(t, "tcp4", "127.93.0.1:0", "127.93.0.1", 2)
	if _, err := p[0].client.Write(make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p[0].server, make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	var list []tcpSocket
	d := newDiagSockets()
	defer d.Close() //nolint:errcheck // it only reads
	if _, err := d.Read([]netip.Addr{netip.MustParseAddr("127.93.0.1")}, func() { list = nil }, func(s *tcpSocket) {
		if s.Local == netip.MustParseAddr("127.93.0.1").As16() {
			list = append(list, *s)
		}
	}); err != nil || len(list) < 2 {
		t.Fatal(list, err)
	}
	var ask []question
	for i := range list {
		ask = append(ask, list[i].question())
	}
	ask = append(ask, question{Local: ask[0].Local, Remote: ask[0].Remote, Cookie: ask[0].Cookie + 1})
	one := &singleSockets{}
	defer one.Close() //nolint:errcheck // it only reads
	n := 0
	if err := one.Read(ask, func(i int, s *tcpSocket) {
		want := list[i]
		want.Heard, want.Silent = s.Heard, s.Silent // time goes on
		if n++; *s != want {
			t.Errorf("%+v, want %+v", *s, want)
		}
	}); err != nil || n != len(list) {
		t.Errorf("%d of %d are there, %v", n, len(list), err)
	}
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
