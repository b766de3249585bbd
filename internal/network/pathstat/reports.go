package pathstat

import (
	"maps"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// Bounds of Reports.
const (
	maxReporters   = 64  // users
	maxReported    = 256 // networks and destinations of one user
	maxReportFlows = 16  // flows of one network and destination
	// reportFresh is for how long a report counts. Programs report about once a second
	// while something comes.
	reportFresh = 5 * time.Second
	// reportKeep is what remains of earlier counts of packets at each report.
	reportKeep = 0.8
)

// FlowReport is what a program says about a flow of datagrams of its own. A round-trip
// time of 0 is unknown; then the report is ignored.
type FlowReport struct {
	Over        policy.PrefixID
	Remote      netip.Addr
	Port        uint16 // the local one
	RTT, RTTVar time.Duration
	Sent, Lost  uint32 // packets since the report before
	Last        bool   // there will be no further report
}

// Reports holds figures of flows of datagrams, by user, network and destination network.
// The kernel measures TCP only, and cannot confirm what programs report. So what a user's
// programs report counts for that user alone. The memory is bounded. Reports is safe for
// concurrent use.
type Reports struct {
	clock func() Instant
	any   atomic.Bool // something has been reported since networks were last dropped

	mu      sync.Mutex
	users   map[uint32]*reporter
	stays   map[policy.PrefixID]uint64
	scratch scratch
}

type reporter struct {
	used  time.Duration // Instant.Up of the latest report
	dests map[reportKey]*reported
}

type reportKey struct {
	over policy.PrefixID
	dest destKey // with tag 0
}

// reported is what is known of a destination over a network.
type reported struct {
	estimator PathEstimator
	flows     map[uint16]reportedFlow // by local port
	used      time.Duration           // Instant.Up of the latest report
}

type reportedFlow struct {
	rtt, rttVar uint32 // microseconds
	sent, lost  float64
	at          time.Duration // Instant.Up
}

// NewReports makes a Reports that knows nothing. A nil clock is Now.
func NewReports(clock func() Instant) *Reports {
	if clock == nil {
		clock = Now
	}
	return &Reports{clock: clock, users: map[uint32]*reporter{}, stays: map[policy.PrefixID]uint64{}}
}

// Set says which prefixes exist, and forgets what was reported of others and of earlier
// stays.
func (r *Reports) Set(prefixes []Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stays := make(map[policy.PrefixID]uint64, len(prefixes))
	for i := range prefixes {
		stays[prefixes[i].ID] = prefixes[i].Stay
	}
	before := r.stays
	r.stays = stays
	r.drop(func(id policy.PrefixID) bool {
		now, ok := stays[id]
		return !ok || now != before[id]
	})
}

// Forget drops what was reported of the prefixes of an interface, "" for all.
func (r *Reports) Forget(iface string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(func(id policy.PrefixID) bool { return iface == "" || id.Interface == iface })
}

func (r *Reports) drop(gone func(policy.PrefixID) bool) {
	left := 0
	for _, u := range r.users {
		maps.DeleteFunc(u.dests, func(k reportKey, _ *reported) bool { return gone(k.over) })
		left += len(u.dests)
	}
	r.any.Store(left > 0)
}

// Add takes a report of a program of user uid, who must be known. Reports of prefixes that
// do not exist are ignored.
func (r *Reports) Add(uid uint32, f *FlowReport) {
	rtt := f.RTT.Microseconds()
	if !f.Remote.IsValid() || rtt <= 0 || f.RTT > History {
		return
	}
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.stays[f.Over]; !ok {
		return
	}
	r.any.Store(true)
	d := r.reported(now, uid, reportKey{f.Over, keyOf(0, f.Remote.As16())})
	d.used = now.Up
	d.expire(now)
	flow, known := d.flows[f.Port]
	if !known && len(d.flows) >= maxReportFlows {
		return
	}
	flow.rtt, flow.rttVar, flow.at = uint32(rtt), uint32(min(max(0, f.RTTVar), History).Microseconds()), now.Up
	flow.sent = flow.sent*reportKeep + float64(f.Sent)
	flow.lost = flow.lost*reportKeep + float64(min(f.Lost, f.Sent))
	d.flows[f.Port] = flow
	d.compute(now)
	if f.Last {
		delete(d.flows, f.Port)
		d.compute(now) // its round-trip time stays, but it is not a connection any more
	}
}

// reported returns the entry of a key, which may be a new one in the place of the one that
// was used least lately.
func (r *Reports) reported(now Instant, uid uint32, k reportKey) *reported {
	u := r.users[uid]
	if u == nil {
		if len(r.users) >= maxReporters {
			delete(r.users, leastUsed(r.users, func(u *reporter) time.Duration { return u.used }))
		}
		u = &reporter{dests: map[reportKey]*reported{}}
		r.users[uid] = u
	}
	u.used = now.Up
	d := u.dests[k]
	if d == nil {
		if len(u.dests) >= maxReported {
			delete(u.dests, leastUsed(u.dests, func(d *reported) time.Duration { return d.used }))
		}
		d = &reported{flows: map[uint16]reportedFlow{}}
		d.estimator.minimum.grain, d.estimator.scratch = destGrain, &r.scratch
		u.dests[k] = d
	}
	return d
}

func leastUsed[K comparable, V any](m map[K]V, used func(V) time.Duration) (oldest K) {
	first := true
	var least time.Duration
	for k, v := range m {
		if u := used(v); first || u < least {
			oldest, least, first = k, u, false
		}
	}
	return oldest
}

// expire forgets the flows that are not reported any more, and tells whether there were any.
// A program that is killed does not say that its flows are over.
func (d *reported) expire(now Instant) bool {
	n := len(d.flows)
	maps.DeleteFunc(d.flows, func(_ uint16, f reportedFlow) bool { return now.Up-f.at >= reportFresh })
	return len(d.flows) < n
}

// compute brings the figures up to date.
func (d *reported) compute(now Instant) {
	samples := make([]Sample, 0, len(d.flows))
	for _, f := range d.flows {
		// The sums are not whole numbers; the share is what counts.
		const grain = 16
		samples = append(samples, Sample{
			RTT: f.rtt, RTTVar: f.rttVar, Sent: whole(f.sent * grain), Lost: whole(f.lost * grain), Retrans: whole(f.lost * grain),
		})
	}
	d.estimator.Add(now, samples)
}

func whole(f float64) uint32 { return uint32(min(math.Round(f), math.MaxUint32)) }

// With returns the figures of a destination over a prefix for user uid: what the kernel
// has measured there, together with what programs of this user have reported.
func (r *Reports) With(measured policy.PathStats, uid uint32, over policy.PrefixID, remote netip.Addr) policy.PathStats {
	if !remote.IsValid() || !r.any.Load() {
		return measured
	}
	k := reportKey{over, keyOf(0, remote.As16())}
	if !r.has(uid, k) {
		return measured
	}
	now := r.clock() // takes longer than the rest, and others need not wait for it
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.users[uid]
	if u == nil {
		return measured
	}
	d := u.dests[k]
	if d == nil {
		return measured
	}
	if now.Up-d.used >= History {
		delete(u.dests, k)
		return measured
	}
	if d.expire(now) || len(d.flows) == 0 {
		d.compute(now)
	}
	return together(measured, d.estimator.Stats())
}

// has tells whether something is known of a user's destination.
func (r *Reports) has(uid uint32, k reportKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.users[uid]
	return u != nil && u.dests[k] != nil
}

// together joins the figures of two groups of connections. Means are weighed by the number
// of connections; so are medians, whose exact values are not known any more.
func together(a, b policy.PathStats) policy.PathStats {
	switch {
	case b.SRTTMin == 0:
		return a
	case a.SRTTMin == 0:
		return b
	case a.Conns == 0:
		a, b = b, a
	}
	least := min(a.SRTTMin, b.SRTTMin)
	if b.Conns == 0 {
		if a.SRTTMin = least; a.Conns == 0 {
			a.SRTTMean, a.SRTTMedian = least, least
			if a.SampleTime.Before(b.SampleTime) {
				a.SampleTime = b.SampleTime
			}
		}
		return a
	}
	part := float64(b.Conns) / float64(a.Conns+b.Conns)
	weigh := func(x, y float64) float64 { return x + (y-x)*part }
	between := func(x, y time.Duration) time.Duration { return time.Duration(weigh(float64(x), float64(y))) }
	mean := between(a.SRTTMean, b.SRTTMean)
	apart := func(s *policy.PathStats) float64 { // mean of the squares of the distances from the common mean
		d := float64(s.SRTTMean-mean) / float64(time.Millisecond)
		return s.SRTTVariance + d*d
	}
	out := policy.PathStats{
		Time: later(a.Time, b.Time), SampleTime: later(a.SampleTime, b.SampleTime), Conns: a.Conns + b.Conns,
		SRTTMean: mean, SRTTMedian: between(a.SRTTMedian, b.SRTTMedian), SRTTMin: least, SRTTCurrent: min(a.SRTTCurrent, b.SRTTCurrent),
		SRTTVariance: weigh(apart(&a), apart(&b)),
		RTTVarMedian: between(a.RTTVarMedian, b.RTTVarMedian), RTTVarMean: between(a.RTTVarMean, b.RTTVarMean),
		LossUp: weigh(a.LossUp, b.LossUp), RetransUp: weigh(a.RetransUp, b.RetransUp),
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
