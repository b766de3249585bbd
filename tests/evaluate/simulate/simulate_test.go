package simulate

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

const ms = time.Millisecond

func host(t *testing.T, s Scheme, cold bool, paths ...Path) *Host {
	t.Helper()
	h, err := NewHost(Config{Paths: paths, Scheme: s, Cold: cold})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The times of these transfers can be calculated by hand.
func TestFetch(t *testing.T) {
	const fast = 1e6 // Mbit/s: transmission takes no time
	for _, tt := range []struct {
		name string
		path Path
		size int64
		want float64 // ms
	}{
		{"one segment: handshake, request", Path{Mbps: fast, RTT: 100 * ms}, 1000, 200},
		{"the initial window", Path{Mbps: fast, RTT: 100 * ms}, 10*segment - header, 200},
		{"a byte more", Path{Mbps: fast, RTT: 100 * ms}, 10*segment - header + 1, 300},
		{"three rounds: 10 + 20 + 40 segments", Path{Mbps: fast, RTT: 100 * ms}, 70*segment - header, 400},
		// 60 + 1452 bytes at 12 kB/s take 121 ms, besides two round trips.
		{"a slow link", Path{Mbps: 0.096, RTT: 100 * ms}, 1200, 200 + 5 + 121},
		// Ten segments of 1500 bytes are sent at 1.2 MB/s.
		{"the initial window in a row", Path{Mbps: 9.6, RTT: 100 * ms}, 10*segment - header, 200 + 0.05 + 12.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := float64(host(t, Net(1), true, tt.path).Fetch(tt.size)) / float64(ms)
			if math.Abs(got-tt.want) > 0.2 {
				t.Errorf("%.2f ms, want %.2f", got, tt.want)
			}
		})
	}
}

// A long transfer gets the whole rate of the link, less the headers.
func TestRate(t *testing.T) {
	for _, p := range []Path{{Mbps: 2, RTT: 10 * ms}, {Mbps: 20, RTT: 100 * ms}, {Mbps: 50, RTT: 200 * ms}, {Mbps: 0.5, RTT: 10 * ms}} {
		h := host(t, Net(1), true, p)
		size := int64(p.Mbps * 1e6 / 8 * 20)
		took := h.Fetch(size).Seconds()
		least := 20 * float64(mtu) / segment
		if took < least || took > 1.3*least {
			t.Errorf("%+v: %.2f s, at least %.2f; dropped %d", p, took, least, h.paths[0].dropped)
		}
	}
}

// Two transfers at once share the link. The drop-tail queue limits the delay.
func TestQueue(t *testing.T) {
	h := host(t, Net(1), true, Path{Mbps: 2, RTT: 20 * ms})
	a, b := h.dial(0, 0, false), h.dial(0, 0, false)
	left := 2
	var ends []time.Duration
	for _, c := range []*conn{a, b} {
		c.get(1_000_000, func() { left--; ends = append(ends, h.Now()) })
	}
	longest := time.Duration(0)
	h.run(never, func() bool { longest = max(longest, h.paths[0].rtt()); return left == 0 })
	if longest < 100*ms || longest > 170*ms {
		t.Errorf("the round-trip time rose to %v, of at most 20 + 150 ms", longest)
	}
	if h.paths[0].dropped == 0 {
		t.Error("the queue dropped nothing")
	}
	// Together, 2 MB and headers at 250 kB/s take 8.3 s.
	if ends[1] < 8300*ms || ends[1] > 9*time.Second || ends[0] < ends[1]/2 {
		t.Errorf("the ends are %v", ends)
	}
}

// The same seed gives the same course.
func TestDeterministic(t *testing.T) {
	p := workload.P1()
	play := func() []time.Duration {
		h := host(t, Policy("earliest_arrival_probabilities"), false, Path{Mbps: 2, RTT: 10 * ms}, Path{Mbps: 20, RTT: 100 * ms})
		return []time.Duration{h.Load(&p), h.Load(&p), h.Now()}
	}
	if diff := cmp.Diff(play(), play()); diff != "" {
		t.Error(diff)
	}
}

// The measurements are those of the warm-up.
func TestMeasures(t *testing.T) {
	h := host(t, Net(1), false, Path{Mbps: 2, RTT: 10 * ms}, Path{Mbps: 20, RTT: 100 * ms})
	for i, want := range []struct {
		rtt  time.Duration
		mbps float64
	}{{10 * ms, 2}, {100 * ms, 20}} {
		p := h.measures[i].prefix
		if p.Stats.SRTTMin < want.rtt || p.Stats.SRTTMin > want.rtt*12/10 || math.Abs(p.Link.DownRateMax.Mbps()-want.mbps) > 0.1*want.mbps || p.Stats.Conns != 0 {
			t.Errorf("path %d: minimum %v, highest rate %.2f Mbit/s, %d connections", i, p.Stats.SRTTMin, p.Link.DownRateMax.Mbps(), p.Stats.Conns)
		}
	}
}

// A browser opens at most six connections to a host and seventeen in all.
func TestLimits(t *testing.T) {
	h := host(t, RoundRobin(), true, Path{Mbps: 20, RTT: 100 * ms}, Path{Mbps: 20, RTT: 100 * ms})
	accepted := 0
	for host := range 4 {
		for range 8 {
			if h.request(host, 1000, intent.Set{}, func() {}) != nil {
				accepted++
			}
		}
	}
	perHost := map[int]int{}
	for _, c := range h.conns {
		perHost[c.host]++
	}
	if diff := cmp.Diff(map[int]int{0: 6, 1: 6, 2: 5}, perHost); diff != "" || accepted != 17 {
		t.Errorf("%d accepted (-want +got)\n%s", accepted, diff)
	}
	h.Idle(time.Second)
	// An idle connection to another host makes room.
	if h.request(3, 1000, intent.Set{}, func() {}) == nil || len(h.conns) != 17 {
		t.Errorf("%d connections", len(h.conns))
	}
	if diff := cmp.Diff([]int{9, 9}, h.Decisions); diff != "" {
		t.Errorf("round robin (-want +got)\n%s", diff)
	}
	if h.request(0, 1000, intent.Set{}, func() {}) == nil || h.Reused != 1 {
		t.Error("an idle connection is not reused")
	}
}

// MPTCP uses both paths for long transfers.
func TestMPTCP(t *testing.T) {
	h := host(t, MPTCP(), true, Path{Mbps: 10, RTT: 20 * ms}, Path{Mbps: 10, RTT: 20 * ms})
	if took := h.Fetch(10_000_000); took < 4*time.Second || took > 5*time.Second {
		t.Errorf("10 MB over twice 10 Mbit/s took %v", took)
	}
	if n := h.Received(); n[0] < 4e6 || n[1] < 4e6 {
		t.Errorf("bytes by path: %v", n)
	}
}

// If all subflows are there at once, small objects take as long as over the quickest
// path alone.
func TestIdeal(t *testing.T) {
	paths := []Path{{Mbps: 2, RTT: 100 * ms}, {Mbps: 20, RTT: 20 * ms}}
	alone, ideal := host(t, Net(2), true, paths...), host(t, Ideal(), true, paths...)
	if a, b := alone.Fetch(1000), ideal.Fetch(1000); a != b {
		t.Errorf("1 kB took %v, alone %v", b, a)
	}
	if a, b := alone.Fetch(10_000_000), ideal.Fetch(10_000_000); b > a {
		t.Errorf("10 MB took %v, alone %v", b, a)
	}
}

func TestSlowerPath(t *testing.T) {
	h := host(t, Net(1), true, Path{Mbps: 10, RTT: 20 * ms})
	before := h.Fetch(1_000_000)
	h.Set(0, Path{Mbps: 1})
	if after := h.Fetch(1_000_000); after < 7*before || after > 13*before {
		t.Errorf("%v at a tenth of the rate, %v before", after, before)
	}
}

func TestSchemes(t *testing.T) {
	for _, s := range []Scheme{Policy("nothing"), Policy("video", "be_pessimist=perhaps")} {
		if _, err := NewHost(Config{Paths: []Path{{Mbps: 1}}, Scheme: s}); err == nil {
			t.Errorf("%s gives no error", s.Name)
		}
	}
	if s := Policy("video", "be_pessimist=true"); s.Name != "video be_pessimist=true" {
		t.Errorf("name %q", s.Name)
	}
}

// On a part of the grid and of the named scenarios, adaptive keeps its promises.
func TestAdaptive(t *testing.T) {
	schemes := []Scheme{Net(1), Net(2), Policy("adaptive"), Policy("threshold")}
	pairs := []Pair{
		PairOf(2, 10, 20, 100), PairOf(2, 10, 2, 10), PairOf(6, 50, 5, 50), PairOf(50, 10, 20, 50),
		PairOf(0.5, 20, 20, 50), PairOf(12, 30, 5, 200), PairOf(20, 50, 50, 100),
	}
	pages := workload.Drawn(4, 1)
	times, err := Run(t.Context(), pairs, schemes, pages, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, threshold := times.Summary(pairs, 2, 0, 1), times.Summary(pairs, 3, 0, 1)
	if ours.WorstPair > 1.05 {
		t.Errorf("%.0f %% slower than the better network over %v", 100*(ours.WorstPair-1), ours.WorstAt)
	}
	if ours.Mean > threshold.Mean || ours.Cases != 28 {
		t.Errorf("%+v, threshold %+v", ours, threshold)
	}
}

// After a cold start, adaptive is faster than the default network in most cases, and
// finds out in time which network is slow.
func TestAdaptiveCold(t *testing.T) {
	schemes := []Scheme{Net(1), Net(2), Policy("adaptive")}
	pairs := []Pair{
		PairOf(2, 10, 20, 100), PairOf(0.5, 10, 20, 100), PairOf(0.5, 50, 50, 200), PairOf(6, 50, 5, 50),
		PairOf(50, 10, 20, 50), PairOf(20, 50, 0.5, 20), PairOf(12, 30, 5, 200),
	}
	times, err := RunCold(t.Context(), pairs, schemes, workload.Drawn(4, 1), 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := times.Summary(pairs, 2, 0, 1)
	if s.Mean > 1.2 || s.WorstPair > 2 || s.Faster < 0.6 {
		t.Errorf("%+v", s)
	}
}

// After a download was given up, adaptive still uses the download's network.
func TestAdaptiveAfterAbandon(t *testing.T) {
	p := workload.P1()
	for _, pair := range []Pair{PairOf(2, 10, 20, 100), PairOf(0.5, 50, 50, 20), PairOf(6, 50, 5, 50)} {
		play := func(abandon bool) time.Duration {
			h := host(t, Policy("adaptive"), false, pair[:]...)
			if abandon {
				h.Abandon(5_000_000, 500*ms)
			}
			h.Idle(time.Second)
			took := h.Load(&p)
			h.Idle(time.Second)
			return took + h.Load(&p)
		}
		if before, after := play(false), play(true); after > before*5/4 {
			t.Errorf("%v: two pages take %v, after a download was given up %v", pair, before, after)
		}
	}
}

func TestGrid(t *testing.T) {
	grid := Grid()
	if len(grid) != 384 || grid[0].String() != "0.5/10 + 0.5/20" || grid[383].String() != "50/50 + 50/200" {
		t.Errorf("%d pairs from %v to %v", len(grid), grid[0], grid[len(grid)-1])
	}
}

func TestSummary(t *testing.T) {
	s := time.Second
	times := Times{
		{{10 * s, 10 * s}, {5 * s, 20 * s}, {4 * s, 11 * s}},
		{{10 * s, 10 * s}, {5 * s, 20 * s}, {10 * s, 5 * s}},
	}
	got := times.Summary([]Pair{PairOf(1, 1, 1, 1), PairOf(2, 2, 2, 2)}, 2, 0, 1)
	want := Shares{
		Cases: 4, Faster: 0.5, Twice: 0.25, Slower: 0.25, Worse: 0.5, P99: 2,
		Mean:        math.Pow(0.8*1.1*2*0.5, 0.25),
		PairsFaster: 1, WorstPair: 0.75, WorstAt: PairOf(1, 1, 1, 1),
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
