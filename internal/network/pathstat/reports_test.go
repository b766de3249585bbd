package pathstat

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

// reporting is a Reports with a clock of its own and two prefixes.
type reporting struct {
	*Reports
	now        Instant
	wlan, wwan policy.PrefixID
	there      netip.Addr
}

func newReporting() *reporting {
	r := &reporting{
		now:  Instant{Wall: time.Unix(1_800_000_000, 0), Up: time.Hour},
		wlan: prefixID("wlan0", "10.0.1.0/24"), wwan: prefixID("wwan0", "10.0.2.0/24"), there: netip.MustParseAddr("192.0.2.1"),
	}
	r.Reports = NewReports(func() Instant { return r.now })
	r.Set(r.prefixes(1))
	return r
}

func (r *reporting) prefixes(stay uint64) []Prefix {
	return []Prefix{{ID: r.wlan, Index: 2, Stay: stay}, {ID: r.wwan, Index: 3, Stay: 1}}
}

func (r *reporting) pass(d time.Duration) {
	r.now.Up += d
	r.now.Wall = r.now.Wall.Add(d)
}

// flow makes a report on a flow over wlan0.
func (r *reporting) flow(port uint16, rtt time.Duration, sent, lost uint32) *FlowReport {
	return &FlowReport{Over: r.wlan, Remote: r.there, Port: port, RTT: rtt, RTTVar: rtt / 10, Sent: sent, Lost: lost}
}

// Reports count for their user, network and destination network, and for nothing else.
func TestReportsCountWhereTheyBelong(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	r.Add(1000, r.flow(1, 30*ms, 100, 4))
	for _, tt := range []struct {
		name   string
		uid    uint32
		over   policy.PrefixID
		remote string
		want   time.Duration
	}{
		{"the same", 1000, r.wlan, "192.0.2.1", 30 * ms},
		{"a neighbour", 1000, r.wlan, "192.0.2.254", 30 * ms},
		{"another user", 1001, r.wlan, "192.0.2.1", 0},
		{"root", 0, r.wlan, "192.0.2.1", 0},
		{"another network", 1000, r.wwan, "192.0.2.1", 0},
		{"another destination", 1000, r.wlan, "192.0.3.1", 0},
		{"no destination", 1000, r.wlan, "", 0},
	} {
		a, _ := netip.ParseAddr(tt.remote)
		got := r.With(policy.PathStats{}, tt.uid, tt.over, a)
		if got.SRTTMin != tt.want || got.SRTTMedian != tt.want || (got.Conns == 1) != (tt.want > 0) {
			t.Errorf("%s: %+v, want %v", tt.name, got, tt.want)
		}
	}
	if got := r.With(policy.PathStats{}, 1000, r.wlan, r.there); got.LossUp != 0.04 || got.RTTVarMedian != 3*ms || !got.SampleTime.Equal(r.now.Wall) {
		t.Errorf("%+v", got)
	}
}

// A report that a program cannot mean, or that is about no network, is ignored.
func TestReportsIgnoreNonsense(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	for _, f := range []*FlowReport{
		r.flow(1, 0, 1, 0), r.flow(1, -ms, 1, 0), r.flow(1, History+1, 1, 0),
		{Over: prefixID("eth9", "10.9.0.0/24"), Remote: r.there, Port: 1, RTT: 5 * ms},
		{Over: r.wlan, Port: 1, RTT: 5 * ms},
	} {
		r.Add(1000, f)
	}
	if len(r.users) != 0 {
		t.Errorf("%d users are remembered", len(r.users))
	}
	// More packets are lost than were sent.
	r.Add(1000, r.flow(1, 30*ms, 1, 1<<32-1))
	if got := r.With(policy.PathStats{}, 1000, r.wlan, r.there); got.LossUp != 1 {
		t.Errorf("%+v", got)
	}
}

// When a flow is no longer reported, its least round-trip time stays for ten minutes.
func TestReportsGrowOld(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	with := func() policy.PathStats { return r.With(policy.PathStats{}, 1000, r.wlan, r.there) }
	r.Add(1000, r.flow(1, 30*ms, 100, 50))
	r.pass(time.Second)
	r.Add(1000, r.flow(2, 50*ms, 100, 0))
	if got := with(); got.Conns != 2 || got.SRTTMin != 30*ms || got.SRTTMean != 40*ms || got.SRTTCurrent != 30*ms || got.LossUp != 0.25 {
		t.Errorf("two flows: %+v", got)
	}
	r.pass(reportFresh - time.Second)
	if got := with(); got.Conns != 1 || got.SRTTMin != 30*ms || got.SRTTCurrent != 50*ms || got.LossUp != 0 {
		t.Errorf("one has become old: %+v", got)
	}
	last := r.flow(2, 40*ms, 100, 0)
	last.Last = true
	r.Add(1000, last)
	r.pass(ms)
	if got := with(); got.Conns != 0 || got.SRTTMin != 30*ms || got.SRTTMedian != 30*ms {
		t.Errorf("both are over: %+v", got)
	}
	r.pass(History)
	if got := with(); got.SRTTMin != 0 {
		t.Errorf("after ten minutes: %+v", got)
	}
}

// A flow that is over does not count beside one that goes on.
func TestReportsEndOneByOne(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	r.Add(1000, r.flow(1, 30*ms, 100, 0))
	last := r.flow(2, 20*ms, 100, 50)
	last.Last = true
	r.Add(1000, last)
	if got := r.With(policy.PathStats{}, 1000, r.wlan, r.there); got.Conns != 1 || got.SRTTMean != 30*ms || got.SRTTMin != 20*ms || got.LossUp != 0 {
		t.Errorf("%+v", got)
	}
}

// Flows of programs that were killed make room for new ones.
func TestReportsMakeRoom(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	for port := range uint16(maxReportFlows) {
		r.Add(1000, r.flow(port, 30*ms, 1, 0))
	}
	r.pass(reportFresh)
	r.Add(1000, r.flow(maxReportFlows, 20*ms, 1, 0))
	if got := r.With(policy.PathStats{}, 1000, r.wlan, r.there); got.Conns != 1 || got.SRTTMean != 20*ms {
		t.Errorf("%+v", got)
	}
}

// Losses are those of the last seconds, not of the whole flow.
func TestReportsOfLossFade(t *testing.T) {
	r := newReporting()
	loss := func() float64 { return r.With(policy.PathStats{}, 1000, r.wlan, r.there).LossUp }
	for range 20 {
		r.Add(1000, r.flow(1, 30*time.Millisecond, 100, 10))
		r.pass(time.Second)
	}
	if got := loss(); got < 0.099 || got > 0.101 {
		t.Errorf("steadily %v", got)
	}
	for range 20 {
		r.Add(1000, r.flow(1, 30*time.Millisecond, 100, 0))
		r.pass(time.Second)
	}
	if got := loss(); got > 0.002 {
		t.Errorf("%v after 20 s without loss", got)
	}
}

// Reports on a network do not count for another network that comes after it.
func TestReportsGoWithTheNetwork(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	known := func() (wlan, wwan bool) {
		with := func(id policy.PrefixID) bool { return r.With(policy.PathStats{}, 1000, id, r.there).SRTTMin > 0 }
		return with(r.wlan), with(r.wwan)
	}
	fill := func() {
		for _, id := range []policy.PrefixID{r.wlan, r.wwan} {
			r.Add(1000, &FlowReport{Over: id, Remote: r.there, Port: 1, RTT: 30 * ms})
		}
	}
	for _, tt := range []struct {
		name       string
		do         func()
		wlan, wwan bool
	}{
		{"nothing happens", func() { r.Set(r.prefixes(1)) }, true, true},
		{"wlan0 is attached to something else", func() { r.Set(r.prefixes(2)) }, false, true},
		{"wlan0 is forgotten", func() { r.Forget("wlan0") }, false, true},
		{"all is forgotten", func() { r.Forget("") }, false, false},
		{"wlan0 goes", func() { r.Set(r.prefixes(2)[1:]) }, false, true},
	} {
		fill()
		tt.do()
		if wlan, wwan := known(); wlan != tt.wlan || wwan != tt.wwan {
			t.Errorf("%s: wlan0 %v, wwan0 %v", tt.name, wlan, wwan)
		}
	}
}

// A program can neither fill the memory nor displace other users' figures by reporting
// much.
func TestReportsAreBounded(t *testing.T) {
	const ms = time.Millisecond
	r := newReporting()
	r.Add(1, r.flow(1, 7*ms, 1, 0))
	r.pass(ms)
	for i := range 3 * maxReported {
		for port := range 2 * maxReportFlows {
			r.Add(1000, &FlowReport{Over: r.wlan, Remote: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), Port: uint16(port), RTT: ms})
		}
		r.pass(ms)
	}
	if n := len(r.users[1000].dests); n != maxReported {
		t.Errorf("%d destinations", n)
	}
	for _, d := range r.users[1000].dests {
		if len(d.flows) > maxReportFlows {
			t.Fatalf("%d flows", len(d.flows))
		}
	}
	if got := r.With(policy.PathStats{}, 1, r.wlan, r.there); got.SRTTMin != 7*ms {
		t.Errorf("another user: %+v", got)
	}
	for uid := range uint32(3 * maxReporters) {
		r.pass(ms)
		r.Add(uid+2000, r.flow(1, ms, 1, 0))
	}
	if n := len(r.users); n != maxReporters {
		t.Errorf("%d users", n)
	}
}

// The kernel's measurements and reports are combined into one figure.
func TestReportsJoinTheKernelsFigures(t *testing.T) {
	const ms = time.Millisecond
	early, late := time.Unix(1_800_000_000, 0), time.Unix(1_800_000_060, 0)
	live := func(at time.Time, n int, rtt time.Duration, loss float64) policy.PathStats {
		return policy.PathStats{
			Time: at, SampleTime: at, Conns: n, SRTTMean: rtt, SRTTMedian: rtt, SRTTMin: rtt - ms, SRTTCurrent: rtt, RTTVarMedian: rtt / 10, RTTVarMean: rtt / 10,
			LossUp: loss, RetransUp: loss,
		}
	}
	memory := func(at time.Time, rtt time.Duration) policy.PathStats {
		return policy.PathStats{Time: late, SampleTime: at, SRTTMean: rtt, SRTTMedian: rtt, SRTTMin: rtt}
	}
	with := func(s policy.PathStats, least time.Duration) policy.PathStats {
		s.SRTTMin = least
		return s
	}
	nothing := policy.PathStats{Time: early}
	for _, tt := range []struct {
		name       string
		a, b, want policy.PathStats
	}{
		{"nothing", policy.PathStats{}, policy.PathStats{}, policy.PathStats{}},
		{"measured only", live(early, 3, 20*ms, 0.1), nothing, live(early, 3, 20*ms, 0.1)},
		{"reported only", nothing, live(late, 1, 20*ms, 0.1), live(late, 1, 20*ms, 0.1)},
		{"reported now, measured before", memory(early, 5*ms), live(late, 1, 20*ms, 0), with(live(late, 1, 20*ms, 0), 5*ms)},
		{"measured now, reported before", live(late, 1, 20*ms, 0), memory(early, 5*ms), with(live(late, 1, 20*ms, 0), 5*ms)},
		{"both before", memory(early, 9*ms), memory(late, 7*ms), memory(late, 7*ms)},
		{
			"both now", live(early, 3, 20*ms, 0), live(late, 1, 40*ms, 0.2), policy.PathStats{
				Time: late, SampleTime: late, Conns: 4, SRTTMean: 25 * ms, SRTTMedian: 25 * ms, SRTTMin: 19 * ms, SRTTCurrent: 20 * ms,
				SRTTVariance: 75, RTTVarMedian: 2500 * time.Microsecond, RTTVarMean: 2500 * time.Microsecond, LossUp: 0.05, RetransUp: 0.05,
			},
		},
	} {
		if diff := cmp.Diff(tt.want, together(tt.a, tt.b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Decisions ask for reports all the time. One that reads the clock, which takes long, holds
// up no other.
func TestClockHoldsUpNobody(t *testing.T) {
	r := newReporting()
	r.Add(1000, r.flow(1, 30*time.Millisecond, 100, 0))
	r.clock = func() Instant {
		if !r.mu.TryLock() {
			t.Error("the clock is read while others wait")
			return r.now
		}
		r.mu.Unlock()
		return r.now
	}
	if got := r.With(policy.PathStats{}, 1000, r.wlan, r.there); got.SRTTMin != 30*time.Millisecond {
		t.Errorf("with reports: %v", got.SRTTMin)
	}
	// Reports of networks that are gone are not even looked for, and later ones are.
	r.Forget("")
	if r.any.Load() {
		t.Error("something is still known")
	}
	r.Add(1000, r.flow(1, 20*time.Millisecond, 100, 0))
	if got := r.With(policy.PathStats{}, 1000, r.wlan, r.there); got.SRTTMin != 20*time.Millisecond {
		t.Errorf("with a later report: %v", got.SRTTMin)
	}
}
