package adaptive

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/policies/internal/recent"
	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

const ms = time.Millisecond

// Two transfers of 100 and 200 kB share 100 kB/s. The first ends after 2 s and the
// second after 3 s. A third one of 100 kB that begins then shares with nobody.
func TestAdvance(t *testing.T) {
	three := func() []transfer {
		return []transfer{
			{left: 100e3, most: math.Inf(1), until: time.Hour},
			{left: 200e3, most: math.Inf(1), until: time.Hour},
			{begin: 3 * time.Second, left: 100e3, most: 50e3, until: time.Hour},
		}
	}
	for _, tt := range []struct {
		at    time.Duration
		bytes float64
		left  int
	}{{time.Second, 100e3, 3}, {2500 * ms, 250e3, 2}, {3500 * ms, 325e3, 1}, {6 * time.Second, 400e3, 0}} {
		l := link{capacity: 100e3, transfers: three()}
		l.advance(tt.at, new(sharing))
		if len(l.transfers) != tt.left || math.Abs(l.drained-tt.bytes) > 10 {
			t.Errorf("after %v: %.0f bytes, %d left; want %.0f and %d", tt.at, l.drained, len(l.transfers), tt.bytes, tt.left)
		}
	}
}

func TestSharingLeavesWhatSlowOnesCannotUse(t *testing.T) {
	list := []transfer{{left: 1e6, most: 10e3}, {left: 90e3, most: math.Inf(1)}}
	var s sharing
	s.start(list, 100e3, 0)
	if math.Abs(s.rate-90e3) > 1 {
		t.Errorf("rate %.0f", s.rate)
	}
	s.run(2)
	s.note()
	if math.Abs(s.ends[1]-1) > 1e-3 || !math.IsInf(s.ends[0], 1) || math.Abs(list[0].left-980e3) > 1 || list[1].left != 0 {
		t.Errorf("ends %v, %+v", s.ends, list)
	}
}

// Transfers that are calculated event by event end at the same times as in small time
// steps.
func TestSharing(t *testing.T) {
	var s sharing // shared by all runs, as in the policy
	rapid.Check(t, func(t *rapid.T) {
		var list []transfer
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			most := math.Inf(1)
			if rapid.Bool().Draw(t, "limited") {
				most = rapid.Float64Range(5e3, 2e5).Draw(t, "most")
			}
			list = append(list, transfer{begin: time.Duration(rapid.IntRange(-1, 3).Draw(t, "begin")) * 100 * ms, left: rapid.Float64Range(10, 1e5).Draw(t, "left"), most: most})
		}
		capacity := rapid.Float64Range(1e5, 1e6).Draw(t, "capacity")
		want := endsInSteps(slices.Clone(list), capacity)
		s.start(list, capacity, 0)
		s.run(1e6)
		for i := range want {
			if math.Abs(s.ends[i]-want[i]) > 0.003+0.01*want[i] {
				t.Fatalf("ends %.4f, want %.4f", s.ends, want)
			}
		}
		if s.note(); rest(list) != 0 {
			t.Fatalf("something is left: %+v", list)
		}
	})
}

// endsInSteps calculates in small time steps what sharing calculates event by event.
func endsInSteps(list []transfer, capacity float64) []float64 {
	const length = 0.001
	ends := make([]float64, len(list))
	for step := 0; slices.ContainsFunc(list, func(x transfer) bool { return x.left > 0 }); step++ {
		now := float64(step) * length
		var active []*transfer
		for i := range list {
			if list[i].left > 0 && list[i].begin.Seconds() <= now {
				active = append(active, &list[i])
			}
		}
		slices.SortFunc(active, func(x, y *transfer) int { return cmp.Compare(x.most, y.most) })
		room := capacity
		for k, x := range active {
			b := min(length*min(x.most, room/float64(len(active)-k)), x.left) // the rest of a transfer that ends is left to the others
			x.left -= b
			room -= b / length
		}
		for i := range list {
			if list[i].left <= 0 && ends[i] == 0 {
				ends[i] = now + length
			}
		}
	}
	return ends
}

// No bytes are lost, and every prediction ends.
func TestPreview(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := link{now: time.Second, capacity: rapid.Float64Range(leastCapacity, 1e10).Draw(t, "capacity")}
		for range rapid.IntRange(0, maxTransfers+3).Draw(t, "n") {
			l.add(l.transfer(rapid.Float64Range(0, 1e19).Draw(t, "size"), time.Duration(rapid.Int64Range(1, 1e10).Draw(t, "rtt")), rapid.IntRange(1, 4).Draw(t, "trips"), 0))
		}
		if len(l.transfers) > maxTransfers {
			t.Fatalf("%d transfers", len(l.transfers))
		}
		x := l.transfer(rapid.Float64Range(0, 1e12).Draw(t, "new"), 10*ms, 2, 0)
		o := l.preview(x, new(sharing))
		if o.finish < 20*ms || o.harm < 0 || o.others != len(l.transfers) {
			t.Fatalf("%+v", o)
		}
	})
}

// at returns a prefix whose counter has that many bytes at the time Now()+d, at that
// rate.
func at(d time.Duration, bytes uint64, rate policy.BytesPerSecond) *policy.Prefix {
	p := Prefix("a", "10.0.1.2/24", RTT(10, 10, 1), Down(1e6, rate))
	p.Link.Time, p.Link.DownBytes, p.Link.DownSMA = Now().Add(d), 1e6+bytes, rate
	loaded(p)
	return p
}

func observe(l *link, d time.Duration, p *policy.Prefix) estimate {
	e := estimateOf(p)
	l.observe(p, &e, Now().Add(d), new(sharing))
	return e
}

// A link that delivers a tenth of its former rate is noticed. It counts as recovered
// when it delivers more again.
func TestCollapse(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	l.add(l.transfer(5e6, 10*ms, 1, 0))
	var e estimate
	for i := 1; i <= 20; i++ {
		d := time.Duration(i) * 200 * ms
		e = observe(l, d, at(d, uint64(i)*20e3, 1e5))
	}
	if e.capacity > 1.3e5 {
		t.Errorf("after 4 s at a tenth of the rate the capacity is %.0f", e.capacity)
	}
	// A pause without requests is no evidence of recovery. A higher rate is.
	d := 10 * time.Minute
	if e = observe(l, d, at(d, 400e3, 0)); e.capacity > 1.3e5 {
		t.Errorf("%v later it is %.0f", d, e.capacity)
	}
	if e = observe(l, d+time.Second, at(d+time.Second, 1200e3, 8e5)); e.capacity+l.cross < 7e5 {
		t.Errorf("where 800 kB came in a second it is %.0f", e.capacity)
	}
}

// A slow link is not taken for a dead one because nothing more is requested over it.
func TestNothingComesOverSlowLink(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	l.add(l.transfer(5e6, 10*ms, 1, 0))
	var e estimate
	for i := 1; i <= 4; i++ {
		d := time.Duration(i) * time.Second
		p := at(d, uint64(min(i, 2))*1e5, 1e5)
		if i > 2 { // the transfer was given up; the connection is kept
			p.Link.DownRate, p.Link.DownSMA, p.Stats.Conns = 0, 0, 1
		}
		e = observe(l, d, p)
	}
	if e.capacity < 9e4 || e.capacity > 1.5e5 || len(l.transfers) > 0 {
		t.Errorf("capacity %.0f, %d transfers; it kept up 100 kB/s as long as something was loaded", e.capacity, len(l.transfers))
	}
}

// A link that was slow counts as recovered as soon as it is fast.
func TestRecovered(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	l.add(l.transfer(5e6, 10*ms, 1, 0))
	if e := observe(l, 3*time.Second, at(3*time.Second, 3e4, 1e4)); e.capacity > 2e4 {
		t.Fatalf("at 10 kB/s the capacity is %.0f", e.capacity)
	}
	if e := observe(l, 5*time.Second, at(5*time.Second, 1e6, 8e5)); e.capacity+l.cross < 7e5 {
		t.Errorf("after a second at 800 kB/s it is %.0f", e.capacity)
	}
}

// A player asks every few seconds. If a link collapses in between, the last second's
// bytes show it.
func TestCollapseBetweenDecisions(t *testing.T) {
	for _, pause := range []time.Duration{time.Second, 2900 * ms, 3100 * ms, 10 * time.Second} {
		l := &link{}
		observe(l, 0, at(0, 0, 0))
		l.add(l.transfer(5e6, 10*ms, 1, 0))
		came := uint64((pause-time.Second/2).Seconds()*1e6) + 20e3 // the link collapsed half a second ago
		p := at(pause, min(came, 4e6), 4e4)
		p.Link.DownSMA = 5e5
		if e := observe(l, pause, p); e.capacity > 5.1e5 {
			t.Errorf("%v: half a second after the collapse the capacity is %.0f", pause, e.capacity)
		}
		for i := 1; i <= 3; i++ {
			d := pause + time.Duration(i)*pause
			if e := observe(l, d, at(d, min(came, 4e6)+uint64((d-pause).Seconds()*4e4), 4e4)); i == 1 && e.capacity > 5e4 {
				t.Errorf("%v: at the next decision it is %.0f", pause, e.capacity)
			}
			l.add(l.transfer(2e5, 10*ms, 1, 0))
		}
	}
}

// fresh returns a prefix that was never loaded. Its counter has that many bytes at the
// time Now()+d, and the last tenths of a second had the given rates.
func fresh(d time.Duration, bytes uint64, rates ...policy.BytesPerSecond) *policy.Prefix {
	p := Prefix("a", "10.0.1.2/24", Default, RTT(10, 10, 1), Down(slices.Max(rates), rates[len(rates)-1]))
	p.Link.Time, p.Link.DownBytes, p.Link.DownSMA = Now().Add(d), 1e9+bytes, 0
	for _, r := range rates {
		p.Link.DownSMA += r / 10
	}
	return p
}

// An assumed capacity is dropped if less than that arrives although the link was busy.
func TestDoubt(t *testing.T) {
	for _, tt := range []struct {
		name        string
		at          time.Duration
		bytes       uint64
		rates       []policy.BytesPerSecond
		least, most float64
	}{
		{"a slow link", 300 * ms, 12e3, []policy.BytesPerSecond{6e4, 6e4}, 6e4, 7e4},
		{"the server answered late", 100 * ms, 6e3, []policy.BytesPerSecond{6e4}, 9e5, 1.1e6},
		{"all of it came", 300 * ms, 40e3, []policy.BytesPerSecond{15e4, 25e4}, 9e5, 1.1e6},
		{"nothing came yet", 200 * ms, 0, []policy.BytesPerSecond{0, 0}, 9e5, 1.1e6},
	} {
		l := &link{}
		observe(l, 0, fresh(0, 0, 0))
		l.add(l.transfer(30e3, 10*ms, 2, 0))
		if e := observe(l, tt.at, fresh(tt.at, tt.bytes, tt.rates...)); e.capacity < tt.least || e.capacity > tt.most || l.warned != 0 {
			t.Errorf("%s: capacity %.0f, warned at %v", tt.name, e.capacity, l.warned)
		}
	}
}

// A doubt ends when the link delivers more, or was loaded for long.
func TestDoubtRefuted(t *testing.T) {
	l := &link{}
	observe(l, 0, fresh(0, 0, 0))
	l.add(l.transfer(100e3, 10*ms, 2, 0))
	if e := observe(l, 300*ms, fresh(300*ms, 12e3, 6e4, 6e4)); e.capacity > 7e4 {
		t.Errorf("capacity %.0f", e.capacity)
	}
	if e := observe(l, 400*ms, fresh(400*ms, 52e3, 6e4, 6e4, 4e5)); e.capacity != 4e5 {
		t.Errorf("capacity %.0f after 400 kB/s", e.capacity)
	}
	p := fresh(2*time.Second, 1e6, 1e6, 0)
	p.Link.DownSMAMax.VeryLong = 9e5
	if e := observe(l, 2*time.Second, p); e.capacity != 9e5 {
		t.Errorf("capacity %.0f after a second of 900 kB/s", e.capacity)
	}
}

// A transfer over a link without a known round-trip time begins when that time is
// known. Until then no bytes are missing.
func TestRetime(t *testing.T) {
	l := &link{}
	unknown := func(d time.Duration) *policy.Prefix {
		p := fresh(d, 0, 0)
		p.Stats = policy.PathStats{}
		return p
	}
	observe(l, 0, unknown(0))
	begun := l.now
	l.add(l.transfer(100e3, assumedRTT, 2, 0))
	if e := observe(l, 300*ms, unknown(300*ms)); l.behind != 0 || e.capacity < 9e5 || l.transfers[0].begin != l.now+assumedRTT {
		t.Errorf("%.0f bytes behind, capacity %.0f, begin %v", l.behind, e.capacity, l.transfers[0].begin)
	}
	l = &link{}
	observe(l, 0, unknown(0))
	l.add(l.transfer(100e3, assumedRTT, 2, 0))
	most := l.transfers[0].most
	p := fresh(100*ms, 600, 6e3)
	p.Stats.SRTTMin = 200 * ms
	observe(l, 100*ms, p)
	if x := l.transfers[0]; x.begin != begun+400*ms || math.Abs(x.most-most/4) > 1 {
		t.Errorf("begin %v, at most %.0f of %.0f bytes per second", x.begin-begun, x.most, most)
	}
}

// A burst after a stall is not taken for the capacity, neither on a link that was
// loaded for a second, nor on one that was too slow.
func TestBurst(t *testing.T) {
	burst := func(average policy.BytesPerSecond) func(time.Duration, uint64) *policy.Prefix {
		return func(d time.Duration, bytes uint64) *policy.Prefix {
			p := at(d, bytes, 1e5)
			p.Link.DownSMAMax.VeryLong = average
			return p
		}
	}
	if e := estimateOf(burst(6e5)(0, 0)); e.capacity != 6e5 {
		t.Errorf("capacity %.0f where 600 kB/s were kept up", e.capacity)
	}
	if e := estimateOf(burst(4e5)(0, 0)); e.capacity != 1e6 {
		t.Errorf("capacity %.0f where 400 kB/s were kept up", e.capacity)
	}
	few := burst(1e5)
	l := &link{}
	observe(l, 0, few(0, 0))
	l.add(l.transfer(5e6, 10*ms, 1, 0))
	var e estimate
	for i := 1; i <= 600; i++ {
		d := time.Duration(i) * 100 * ms
		e = observe(l, d, few(d, uint64(min(i, 30))*10e3))
	}
	if e.capacity > 1.1e5 {
		t.Errorf("a minute after it did not keep up the capacity is %.0f", e.capacity)
	}
}

// Bytes that nobody here has requested are others' traffic.
func TestCrossTraffic(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	if e := observe(l, 100*ms, at(100*ms, 50e3, 5e5)); math.Abs(e.capacity-5e5) > 1 {
		t.Errorf("capacity %.0f beside 500 kB/s of others", e.capacity)
	}
	if e := observe(l, 200*ms, at(200*ms, 150e3, 1e6)); math.Abs(e.capacity-0.25e6) > 1 {
		t.Errorf("capacity %.0f beside one TCP connection that uses it all", e.capacity)
	}
	if e := observe(l, 300*ms, at(300*ms, 150e3, 0)); e.capacity != 1e6 {
		t.Errorf("capacity %.0f when they have gone", e.capacity)
	}
}

// Others that were active since the last decision, but are no longer, use nothing.
func TestCrossTrafficLongAgo(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	p := at(10*time.Second, 6e6, 0)
	if e := observe(l, 10*time.Second, p); e.capacity != 1e6 {
		t.Errorf("capacity %.0f when others have gone", e.capacity)
	}
	p = at(20*time.Second, 7e6, 0)
	p.Link.DownRate = 6e5
	if e := observe(l, 20*time.Second, p); math.Abs(e.capacity-4e5) > 1 {
		t.Errorf("capacity %.0f beside others that use 600 kB/s now", e.capacity)
	}
	l.add(l.transfer(10e6, 10*ms, 1, 0))
	p = at(30*time.Second, 17e6, 0)
	p.Link.DownRate = 1e6
	if e := observe(l, 30*time.Second, p); e.capacity < 9.9e5 {
		t.Errorf("capacity %.0f when nothing comes but a transfer of our own", e.capacity)
	}
}

// Overestimated sizes do not add up from page to page.
func TestOverratedSizes(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	var bytes uint64
	for page := range 100 {
		d := time.Duration(page) * time.Second
		for range 10 {
			l.add(l.transfer(1000, 10*ms, 1, 0))
			bytes += 1100
		}
		observe(l, d+100*ms, at(d+100*ms, bytes, 1e5))
		observe(l, d+200*ms, at(d+200*ms, bytes, 0))
	}
	if l.behind != 0 || len(l.transfers) != 0 {
		t.Errorf("%.0f bytes behind, %d transfers when all is quiet", l.behind, len(l.transfers))
	}
}

// A transfer that is faster than predicted ends earlier.
func TestSurplus(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	l.add(l.transfer(300e3, 100*ms, 2, 0)) // begins after 200 ms
	observe(l, 100*ms, at(100*ms, 100e3, 1e6))
	if got := l.transfers[0].left; math.Abs(got-(300e3*wireShare+wireExtra-100e3)) > 1 || l.cross != 0 {
		t.Errorf("%.0f bytes left, cross traffic %.0f", got, l.cross)
	}
}

// A connection that never transfers what was announced does not count for ever.
func TestGivenUp(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	l.add(l.transfer(1e6, 10*ms, 2, 0))
	for i := 1; i <= 600; i++ {
		d := time.Duration(i) * 100 * ms
		observe(l, d, at(d, 0, 0))
	}
	if len(l.transfers) != 0 || l.behind != 0 {
		t.Errorf("%d transfers, %.0f bytes behind after a minute", len(l.transfers), l.behind)
	}
}

// If no bytes come, the transfers were given up when no connection is left, or after a
// second. The link is not taken for a slow one.
func TestNothingComes(t *testing.T) {
	for _, tt := range []struct {
		name          string
		conns         int
		rate, average policy.BytesPerSecond
		transfers     int
		capacity      float64
	}{
		{"connections closed", 0, 0, 4e5, 0, 1e6},
		{"nothing for a second", 3, 0, 500, 0, 1e6},
		{"a pause", 3, 0, 4e5, 1, 1e6},
		{"others load", 0, 4e5, 4e5, 1, 4e5},
		{"a slow link", 1, 1e5, 1e5, 1, 1e5},
	} {
		l := &link{}
		observe(l, 0, at(0, 0, 0))
		l.add(l.transfer(5e6, 10*ms, 1, 0))
		p := at(1500*ms, uint64(tt.average), tt.rate)
		p.Stats.Conns, p.Link.DownSMA = tt.conns, tt.average
		e := observe(l, 1500*ms, p)
		if len(l.transfers) != tt.transfers || math.Abs(e.capacity-tt.capacity) > 0.05*tt.capacity {
			t.Errorf("%s: %d transfers, capacity %.0f", tt.name, len(l.transfers), e.capacity)
		}
	}
}

func TestClockSetBack(t *testing.T) {
	l := &link{}
	observe(l, 0, at(0, 0, 0))
	l.add(l.transfer(1e6, 10*ms, 2, 0))
	if observe(l, -time.Hour, at(-time.Hour, 0, 0)); len(l.transfers) != 0 || l.now <= 0 {
		t.Errorf("%+v", l)
	}
}

// What was measured of connections whose clients report nothing corrects predictions. It
// does not tell what one connection gets, because servers may be slow as well, and a size
// that nobody has stated may be wrong.
func TestMeasuredTransfers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int64 // stated; 0: none
		bytes    uint64
		took     time.Duration
		measured bool
		bias     bool // transfers are predicted to take longer afterwards
		most     bool // one connection has a limit
	}{
		{"reported, slow", 100_000, 100_000, 4 * time.Second, false, true, true},
		{"measured, slow", 100_000, 100_000, 4 * time.Second, true, true, false},
		{"measured, as predicted", 100_000, 100_000, 500 * time.Millisecond, true, false, false},
		{"measured, slow, of no size", 0, 30_000, 4 * time.Second, true, true, false},
		{"measured, larger than assumed", 0, 3_000_000, 12 * time.Second, true, false, false},
		{"measured, larger than assumed, and slow", 0, 300_000, 20 * time.Second, true, true, false},
		{"reported, larger than assumed", 0, 3_000_000, 12 * time.Second, false, true, false},
	} {
		p := Make(New)(t).(*Policy)
		a := near() // 250 kB/s and 10 ms
		for range 3 {
			r := Request(open, a)
			if tt.size > 0 {
				r = Size(r, tt.size)
			}
			r.Now = r.Now.Add(time.Duration(p.token) * time.Hour)
			d := p.Choose(r)
			p.Measured([]*policy.Prefix{a}, r.Now.Add(tt.took))
			p.Ended(&policy.Transfer{
				Token: d.Token, Prefix: a, Measured: tt.measured, Bytes: tt.bytes, Duration: tt.took, RTT: 10 * time.Millisecond, MinRTT: 10 * time.Millisecond, End: r.Now.Add(tt.took),
			})
			p.users = recent.New[uint32, *lore](maxUsers) // sizes are not learnt
		}
		l := p.link(a)
		if got := l.bias() > 1; got != tt.bias {
			t.Errorf("%s: the correction is %.2f", tt.name, l.bias())
		}
		if got := l.most > 0; got != tt.most {
			t.Errorf("%s: one connection gets %.0f", tt.name, l.most)
		}
	}
}

// What was measured is remembered when it is too old to be told, until more comes, or
// another network may be there.
func TestRemembers(t *testing.T) {
	measured := func(d time.Duration, bytes uint64, edits ...func(*policy.Prefix)) *policy.Prefix {
		p := Prefix("a", "10.0.1.2/24", edits...)
		p.Link.Time, p.Link.DownBytes = Now().Add(d), bytes
		return p
	}
	last := func(p *policy.Prefix) { p.Link.DownSMAMax.VeryLong = 200e3 }
	for _, tt := range []struct {
		name     string
		after    *policy.Prefix
		capacity float64 // 0: unknown
		rtt      time.Duration
	}{
		{"nothing", measured(time.Second, 100), 2e6, 20 * ms},
		{"the end of the load", measured(time.Second, 100, last), 2e6, 20 * ms},
		{"a little", measured(time.Second, 100, Down(100e3, 0)), 2e6, 20 * ms},
		{"more", measured(time.Second, 100, Down(5e6, 0)), 0, 20 * ms},
		{"slower", measured(time.Second, 100, Down(400e3, 0), loaded, RTT(50, 50, 0)), 400e3, 50 * ms},
		{"another interface", measured(time.Second, 10), 0, 0},
		{"after an absence", measured(2*absence, 100), 0, 0},
	} {
		l := &link{}
		if e := l.estimate(measured(0, 50, Down(2e6, 0), loaded, RTT(20, 20, 0))); e.capacity != 2e6 || e.assumed {
			t.Fatalf("%+v", e)
		}
		e := l.estimate(tt.after)
		if e.assumed != (tt.capacity == 0) || tt.capacity > 0 && e.capacity != tt.capacity || e.rttKnown != (tt.rtt > 0) || tt.rtt > 0 && e.rtt != tt.rtt {
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
}
