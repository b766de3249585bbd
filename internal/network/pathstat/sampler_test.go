package pathstat

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policy"
)

// fakeKernel answers for all three sources. The test holds mu, except in bench.wait.
type fakeKernel struct {
	mu       sync.Mutex
	sockets  []tcpSocket
	ended    []tcpSocket // told once
	counters map[int]LinkCounters
	wifi     map[string]*policy.WifiStats

	err         error
	interrupted int           // so many dumps are
	cost        time.Duration // of a dump
	dumps       int
	asked       int           // about single connections
	silent      error         // of questions about these
	linkWait    time.Duration // before the counters are read
}

func (k *fakeKernel) Read(_ []netip.Addr, begin func(), visit func(*tcpSocket)) (bool, error) {
	k.mu.Lock()
	cost := k.cost
	k.mu.Unlock()
	time.Sleep(cost) // of the bubble's time

	k.mu.Lock()
	defer k.mu.Unlock()
	begin()
	k.dumps++
	for i := range k.sockets {
		visit(&k.sockets[i])
	}
	if k.interrupted > 0 {
		k.interrupted--
		return true, nil
	}
	return false, k.err
}

func (k *fakeKernel) Close() error { return nil }

type fakeEnded struct{ *fakeKernel }

func (k fakeEnded) Read(visit func(*tcpSocket)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.ended {
		visit(&k.ended[i])
	}
	k.ended = nil
	return k.err
}

type fakeSingle struct{ *fakeKernel }

func (k fakeSingle) Read(list []question, visit func(int, *tcpSocket)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked += len(list)
	for i := range list {
		for at := range k.sockets {
			if k.sockets[at].Cookie == list[i].Cookie {
				visit(i, &k.sockets[at])
			}
		}
	}
	return k.silent
}

type fakeLinks struct{ *fakeKernel }

func (k fakeLinks) Read(visit func(int, LinkCounters)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if wait := k.linkWait; wait > 0 {
		k.mu.Unlock()
		time.Sleep(wait)
		k.mu.Lock()
	}
	for index, c := range k.counters {
		visit(index, c)
	}
	return k.err
}

type fakeStations struct{ *fakeKernel }

func (k fakeStations) Read(bool) (map[string]*policy.WifiStats, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wifi == nil {
		return nil, errNoWifi
	}
	return k.wifi, nil
}

// bench is a sampler in a bubble, with a kernel that the test controls.
type bench struct {
	*Sampler
	kernel *fakeKernel
	passes []time.Duration // since the start
	inPass func()          // called in each pass, if it is set
}

func start(t *testing.T, o Options, log *slog.Logger) *bench {
	t.Helper()
	begin := time.Now()
	b := &bench{kernel: &fakeKernel{counters: map[int]LinkCounters{}}}
	o.Clock = func() Instant { return Instant{Wall: time.Now(), Up: time.Since(begin)} }
	o.OnSnapshot = func(*Snapshot) {
		b.kernel.mu.Lock()
		defer b.kernel.mu.Unlock()
		b.passes = append(b.passes, time.Since(begin))
		if b.inPass != nil {
			b.inPass()
		}
	}
	b.Sampler = New(o, log)
	b.threadTime = func() time.Duration { return time.Since(begin) } // what takes time takes processor time
	b.sockets, b.single, b.ended, b.links, b.wireless = b.kernel, fakeSingle{b.kernel}, fakeEnded{b.kernel}, fakeLinks{b.kernel}, fakeStations{b.kernel}
	ctx, cancel := context.WithCancelCause(context.Background()) // the test's own ends before its clean-up
	done := make(chan error, 1)
	stop := errors.New("stop")
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		b.kernel.mu.Unlock()
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait() // the first pass, without prefixes, is over
	b.kernel.mu.Lock()
	return b
}

// wait lets time pass, and returns the gaps between the passes in it.
func (b *bench) wait(d time.Duration) []time.Duration {
	n := max(1, len(b.passes))
	b.kernel.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	b.kernel.mu.Lock()
	var gaps []time.Duration
	for i := n; i < len(b.passes); i++ {
		gaps = append(gaps, b.passes[i]-b.passes[i-1])
	}
	return gaps
}

func conn(local, remote string, rttMillis, segments uint32) tcpSocket {
	return tcpSocket{
		Local: netip.MustParseAddr(local).As16(), Remote: netip.MustParseAddr(remote).As16(),
		Segments: segments, Sample: Sample{RTT: rttMillis * 1000, RTTVar: 1000},
	}
}

var (
	eth  = prefixID("eth0", "10.0.1.0/24")
	eth6 = prefixID("eth0", "2001:db8::/64")
	wlan = prefixID("wlan0", "10.0.2.0/24")
	home = []Prefix{
		{ID: eth, Index: 2, Addrs: []netip.Addr{netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("10.0.1.3")}},
		{ID: eth6, Index: 2, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::2")}},
		{ID: wlan, Index: 3, Addrs: []netip.Addr{netip.MustParseAddr("10.0.2.2")}},
		{ID: prefixID("lo", "127.0.0.0/8"), Index: 1, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Loopback: true},
	}
)

func TestSamplerDistributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{MaxInterval: -1}, nil)
		b.kernel.sockets = []tcpSocket{
			conn("10.0.1.2", "192.0.2.1", 10, 1),
			conn("10.0.1.3", "192.0.2.2", 20, 1), // a second address of the prefix
			conn("2001:db8::2", "2001:db8:9::1", 40, 1),
			conn("10.0.2.2", "192.0.2.1", 50, 1),
			conn("10.0.2.2", "198.51.100.1", 0, 1), // no round-trip time yet
			conn("10.0.9.9", "192.0.2.1", 1, 1),    // nobody's
			conn("127.0.0.1", "127.0.0.1", 1, 1),   // loopback
		}
		b.kernel.counters = map[int]LinkCounters{1: {9, 9, 9, 8}, 2: {1000, 100, 7, 6}, 9: {1, 1, 1, 1}}
		b.kernel.wifi = map[string]*policy.WifiStats{"wlan0": {Signal: -60}}
		b.Set(home)
		b.wait(wifiRetry + time.Second) // wireless hardware that appears is found
		s := b.Snapshot()

		got := map[policy.PrefixID][2]int{}
		for id, p := range s.Paths {
			got[id] = [2]int{p.Conns, int(p.SRTTMean.Milliseconds())}
		}
		want := map[policy.PrefixID][2]int{eth: {2, 15}, eth6: {1, 40}, wlan: {1, 50}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("connections and mean (-want +got):\n%s", diff)
		}
		if l := s.Links["eth0"]; l.DownBytes != 1000 || l.UpBytes != 100 || l.RxErrors != 7 || l.TxErrors != 6 {
			t.Errorf("eth0: %+v", l)
		}
		if diff := cmp.Diff(policy.LinkStats{Time: s.Time, RxErrors: 9, TxErrors: 8}, s.Links["lo"]); diff != "" {
			t.Errorf("loopback has error counters only:\n%s", diff)
		}
		if _, ok := s.Links["wlan0"]; ok || len(s.Links) != 2 {
			t.Errorf("links nobody counted, or nobody asked for: %v", s.Links)
		}
		if w := s.Wifi["wlan0"]; w == nil || w.Signal != -60 {
			t.Errorf("wireless: %v", s.Wifi)
		}

		dest := func(id policy.PrefixID, remote string) int {
			return s.Destination(id, netip.MustParseAddr(remote)).Conns
		}
		if a, b, c, d := dest(eth, "192.0.2.200"), dest(wlan, "192.0.2.200"), dest(eth6, "2001:db8:9:8::7"), dest(wlan, "198.51.100.1"); a != 2 || b != 1 || c != 1 || d != 0 {
			t.Errorf("connections by destination: %d %d %d %d", a, b, c, d)
		}
		if got := s.Destination(prefixID("x", "10.0.1.0/24"), netip.MustParseAddr("192.0.2.1")); !got.Time.IsZero() {
			t.Errorf("destination of an unknown prefix: %+v", got)
		}
		if got := s.Destination(eth, netip.Addr{}); !got.Time.IsZero() {
			t.Errorf("no destination: %+v", got)
		}
	})
}

func TestSamplerSameAddressOnTwoInterfaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{MaxInterval: -1}, nil)
		a, c := prefixID("a", "192.168.0.0/24"), prefixID("c", "192.168.0.0/24")
		addr := []netip.Addr{netip.MustParseAddr("192.168.0.5"), netip.MustParseAddr("192.168.0.5")}
		bound := conn("192.168.0.5", "192.0.2.1", 10, 1)
		bound.Device = 8
		b.kernel.sockets = []tcpSocket{bound, conn("192.168.0.5", "192.0.2.1", 10, 1)}
		b.Set([]Prefix{{ID: a, Index: 7, Addrs: addr}, {ID: c, Index: 8, Addrs: addr}})
		b.wait(time.Second)
		if s := b.Snapshot(); s.Paths[a].Conns != 1 || s.Paths[c].Conns != 2 {
			t.Errorf("%d and %d connections, want the bound one at its device only", s.Paths[a].Conns, s.Paths[c].Conns)
		}
	})
}

func TestSamplerSlowsDownAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		b := start(t, Options{}, nil)
		b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 10, 1)}
		b.Set(home)
		gaps := b.wait(10 * time.Second)
		// The second pass sees a change, ten quiet ones follow, and the next slows down.
		var want []time.Duration
		for range 12 {
			want = append(want, 100*ms)
		}
		want = append(want, 200*ms, 400*ms, 800*ms, time.Second, time.Second)
		if diff := cmp.Diff(want, gaps[:len(want)]); diff != "" {
			t.Fatalf("gaps while quiet (-want +got):\n%s", diff)
		}

		// The next pass notices a segment on the connection.
		b.kernel.sockets[0].Segments++
		gaps = b.wait(2 * time.Second)
		if len(gaps) < 10 || gaps[1] != 100*ms {
			t.Errorf("gaps after a segment: %v", gaps)
		}

		if gaps = b.wait(10 * time.Second); gaps[len(gaps)-1] != time.Second {
			t.Errorf("gaps while quiet again: %v", gaps)
		}
		n := len(b.passes)
		b.Wake()
		b.wait(100 * ms)
		if len(b.passes) == n {
			t.Error("no pass within 100 ms of Wake")
		}
		if gaps = b.wait(500 * ms); len(gaps) < 4 {
			t.Errorf("gaps after Wake: %v", gaps)
		}

		// After half a minute at that pace the sampler rests. Wake ends that, too.
		b.wait(40 * time.Second)
		if gaps = b.wait(12 * time.Second); !slices.Equal(gaps, []time.Duration{4 * time.Second, 4 * time.Second, 4 * time.Second}) {
			t.Errorf("gaps at rest: %v", gaps)
		}
		n = len(b.passes)
		b.Wake()
		b.wait(100 * ms)
		if len(b.passes) == n {
			t.Errorf("no pass within 100 ms of Wake at rest")
		}
		if gaps = b.wait(500 * ms); len(gaps) < 4 {
			t.Errorf("gaps after Wake at rest: %v", gaps)
		}

		// Traffic on a link keeps the pace up even if no connection changes.
		b.wait(10 * time.Second)
		for range 30 {
			c := b.kernel.counters[2]
			c.RxBytes += 100_000
			b.kernel.counters[2] = c
			gaps = b.wait(100 * ms)
		}
		if diff := cmp.Diff([]time.Duration{100 * ms}, gaps); diff != "" {
			t.Errorf("gaps under load:\n%s", diff)
		}
	})
}

// If Wake is called during the pass after which the pace would slow down, the pace stays.
func TestWakeDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{}, nil)
		b.inPass = b.Wake
		b.Set(home)
		b.wait(DefaultInterval)
		for _, gap := range b.wait(3 * time.Second) {
			if gap != DefaultInterval {
				t.Fatalf("a gap of %v", gap)
			}
		}
	})
}

// The original's logs have a line every 100 ms, whether the host is idle or not.
func TestSamplerKeepsThePaceOfLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{MaxInterval: DefaultInterval}, nil)
		b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 10, 1)}
		b.kernel.counters[2] = LinkCounters{RxBytes: 1, TxBytes: 1}
		b.Set(home)
		b.wait(DefaultInterval) // the first pass with these
		var stamps []string
		for range 300 {
			if gaps := b.wait(DefaultInterval); len(gaps) != 1 || gaps[0] != DefaultInterval {
				t.Fatalf("gaps on an idle host: %v", gaps)
			}
			for _, lines := range []func(*Snapshot, []byte, func([]byte)) []byte{prefixLines, interfaceLines} {
				first := true
				lines(b.Snapshot(), nil, func(line []byte) {
					if stamp, _, _ := strings.Cut(string(line), ","); first {
						stamps, first = append(stamps, stamp), false
					}
				})
			}
		}
		slices.Sort(stamps)
		if n := len(slices.Compact(stamps)); n != 300 {
			t.Errorf("%d time stamps in 30 s, want 300", n)
		}
	})
}

func TestSamplerRatesAcrossPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{}, nil)
		b.kernel.counters[2] = LinkCounters{RxBytes: 1, TxBytes: 1}
		b.Set(home)
		b.wait(30 * time.Second)
		// 5 kB/s counts as quiet, so the pace is slow and each pass stands for 1 s.
		for range 20 {
			c := b.kernel.counters[2]
			c.RxBytes += 5000
			b.kernel.counters[2] = c
			b.wait(time.Second)
		}
		l := b.Snapshot().Links["eth0"]
		if l.DownRate != 5000 || l.DownSMA != 5000 || l.DownSMAMin.Mid != 5000 {
			t.Errorf("a constant 5 kB/s, seen once a second: %+v", l)
		}
	})
}

// After a pass that was held up, the sampler waits for a whole interval. In a shorter one,
// a burst would look like a higher rate.
func TestSamplerAfterLatePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{MaxInterval: -1}, nil)
		b.kernel.counters[2] = LinkCounters{RxBytes: 1, TxBytes: 1}
		b.Set(home)
		for _, late := range []time.Duration{10, 30, 45, 60, 90, 250} {
			b.kernel.linkWait = late * time.Millisecond
			b.wait(100 * time.Millisecond)
			b.kernel.linkWait = 0
			// The time of a snapshot is the end of its pass, even if the pass was late.
			for i, gap := range b.wait(500 * time.Millisecond)[1:] {
				if limit := DefaultInterval - DefaultInterval/leastLate; gap < limit {
					t.Errorf("gap %d after a pass %d ms late is %v, want at least %v", i, late, gap, limit)
				}
			}
		}
	})
}

// A busy host is measured at the configured interval for half a minute after somebody has
// asked, and then at the maximum.
func TestSamplerUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{}, nil)
		b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 10, 1)}
		b.inPass = func() { b.kernel.sockets[0].Segments++ }
		b.Set(home)
		b.wait(unused + time.Second)
		if gaps := b.wait(20 * time.Second); len(gaps) < 19 || len(gaps) > 21 {
			t.Errorf("%d passes in 20 s, though nobody asks", len(gaps))
		}
		b.Wake()
		if gaps := b.wait(unused - time.Second); len(gaps) < 280 {
			t.Errorf("%d passes in the 29 s after a question", len(gaps))
		}
		b.wait(2 * time.Second)
		if gaps := b.wait(20 * time.Second); len(gaps) > 21 {
			t.Errorf("%d passes in 20 s, though nobody asks any more", len(gaps))
		}
		b.kernel.cost, b.kernel.dumps = 100*time.Millisecond, 0
		b.wait(200 * time.Second)
		if n := b.kernel.dumps; n < 9 || n > 11 {
			t.Errorf("%d dumps that take 100 ms in 200 s, want half a hundredth of the time", n)
		}
	})
}

// Dumps take their share of a processor, whatever one of them costs; passes go on between
// them. While a network may be silent, dumps take more.
func TestSamplerBoundsCost(t *testing.T) {
	const span = 200 * time.Second
	for _, test := range []struct {
		name  string
		cost  time.Duration
		share float64 // setting
		doubt func(b *bench)
		want  float64 // share
	}{
		{name: "cheap", cost: 500 * time.Microsecond, want: 0.005}, // in each pass
		{name: "9 000 connections", cost: 10 * time.Millisecond, want: 0.01},
		{name: "90 000", cost: 130 * time.Millisecond, want: 0.01},
		{name: "beyond the greatest gap", cost: 600 * time.Millisecond, want: 0.02},
		{name: "set to 5 %", cost: 130 * time.Millisecond, share: 0.05, want: 0.05},
		{name: "silent link", cost: 130 * time.Millisecond, want: 0.04, doubt: func(b *bench) {
			b.inPass = func() {
				c := b.kernel.counters[2]
				c.TxBytes += 100
				b.kernel.counters[2] = c
			}
		}},
		{name: "silent connections", cost: 130 * time.Millisecond, want: 0.04, doubt: func(b *bench) {
			b.kernel.sockets[0].Stalled, b.kernel.sockets[0].Heard = true, 1000
		}},
		{name: "silent connections, set to 5 %", cost: 130 * time.Millisecond, share: 0.05, want: 0.05, doubt: func(b *bench) {
			b.kernel.sockets[0].Stalled, b.kernel.sockets[0].Heard = true, 1000
		}},
		{name: "one connection of two is silent", cost: 130 * time.Millisecond, want: 0.01, doubt: func(b *bench) {
			b.kernel.sockets = append(b.kernel.sockets, conn("10.0.1.2", "192.0.2.2", 10, 2))
			b.kernel.sockets[0].Stalled, b.kernel.sockets[0].Heard = true, 1000
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, Options{MaxInterval: -1, CPU: test.share}, nil)
				b.kernel.cost = test.cost
				b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 10, 1)}
				b.kernel.counters[2] = LinkCounters{RxBytes: 1000, TxBytes: 1000}
				if test.doubt != nil {
					test.doubt(b)
				}
				b.Set(home)
				pass := b.inPass
				b.inPass = func() {
					b.Wake()
					if pass != nil {
						pass()
					}
				}
				gaps := b.wait(span)
				if least := int((span - time.Duration(b.kernel.dumps)*test.cost) / DefaultInterval * 9 / 10); len(gaps) < least {
					t.Errorf("%d passes in %v, want %d", len(gaps), span, least)
				}
				if share := float64(time.Duration(b.kernel.dumps)*test.cost) / float64(span); share > 1.15*test.want || share < 0.85*test.want {
					t.Errorf("dumps took %.4f of the time, want %.4f", share, test.want)
				}
			})
		})
	}
}

func TestSamplerFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var messages strings.Builder
		b := start(t, Options{MaxInterval: -1}, slog.New(slog.NewTextHandler(&messages, nil)))
		b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 10, 1)}
		b.Set(home)
		b.wait(time.Second)
		before := b.Snapshot().Paths[eth]

		b.kernel.err = unix.ENOBUFS
		b.wait(time.Second)
		if diff := cmp.Diff(before, b.Snapshot().Paths[eth], cmp.Comparer(func(a, b time.Time) bool { return true })); diff != "" {
			t.Errorf("a failure changed the figures:\n%s", diff)
		}
		if age := time.Since(b.Snapshot().Paths[eth].Time); age < 900*time.Millisecond {
			t.Errorf("figures that could not be read are %v old", age)
		}
		b.kernel.err = nil
		b.wait(time.Second)
		if n, m := strings.Count(messages.String(), "WARN"), strings.Count(messages.String(), "INFO"); n != 3 || m != 3 {
			t.Errorf("want one warning and one note for each of three sources:\n%s", &messages)
		}

		// An interrupted dump is repeated once, and then taken as it is.
		dumps := b.kernel.dumps
		b.kernel.interrupted = 1
		b.wait(100 * time.Millisecond)
		if got := b.kernel.dumps - dumps; got != 2 {
			t.Errorf("%d dumps, want 2", got)
		}
		b.kernel.interrupted = 100
		b.wait(time.Second)
		if got := b.Snapshot().Paths[eth].Conns; got != 1 {
			t.Errorf("%d connections, want 1: two attempts must not add up", got)
		}
	})
}

func TestSamplerChangesPrefixes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Options{MaxInterval: -1}, nil)
		b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 10, 1), conn("10.0.2.2", "192.0.2.1", 10, 1)}
		b.kernel.counters = map[int]LinkCounters{2: {1000, 1000, 0, 0}, 3: {1000, 1000, 0, 0}}
		b.Set(home)
		b.wait(time.Second)
		old := b.Snapshot()

		// The wireless link goes, and eth0 is made again with the same name and another
		// index.
		again := []Prefix{home[0]}
		again[0].Index = 12
		b.kernel.counters = map[int]LinkCounters{12: {5_000_000, 10, 0, 0}}
		b.kernel.sockets = nil
		b.Set(again)
		b.wait(time.Second)
		s := b.Snapshot()
		if len(s.Paths) != 1 || len(s.Links) != 1 {
			t.Errorf("%d paths and %d links", len(s.Paths), len(s.Links))
		}
		if l := s.Links["eth0"]; l.DownRateMax != 0 || l.DownBytes != 5_000_000 {
			t.Errorf("a new interface inherits the counter of another: %+v", l)
		}
		if p := s.Paths[eth]; p.SRTTMin != 10*time.Millisecond {
			t.Errorf("what was known of the prefix is lost: %+v", p)
		}
		if got := old.Destination(wlan, netip.MustParseAddr("192.0.2.1")); !got.Time.IsZero() {
			t.Errorf("destinations of a prefix that is gone: %+v", got)
		}
		if len(old.Paths) != 3 {
			t.Error("an old snapshot was changed")
		}
	})
}
