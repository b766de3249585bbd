package pathstat

import (
	"runtime"
	"slices"
	"time"
)

// Observed is what the kernel has said by itself of a TCP connection that has not ended. Its
// figures are as of the latest round-trip time or retransmission. A connection that only receives
// has neither, and its list in the kernel would say nothing newer.
type Observed struct {
	Local, Remote [16]byte // IPv4 is mapped
	LocalPort     uint16
	RemotePort    uint16
	Device        uint32        // interface that the socket is bound to; 0: none
	Cookie        uint64        // as in Connection
	Silent        time.Duration // since the latest round-trip time
	Timeouts      uint32        // retransmission timers that have expired since
	Segments      uint32        // sent and received; changes with the figures
	Sample        Sample
}

const (
	// reconcile is the time between two dumps where the kernel says by itself how connections
	// fare. Dumps tell who has the connections, and whether any connection was missed.
	reconcile = 2 * time.Second
	// maxMissed is how many connections are remembered that a dump has and that are not observed.
	// If there are more, they are read in each pass. Each takes some 120 bytes.
	maxMissed = 4096
	// mayBegin is for how long, after a dump has found a connection that has begun and is not
	// observed, others are expected.
	mayBegin = 10 * time.Second
)

// observation is what is observed of connections.
type observation struct {
	flows   []Observed // of this pass
	cookies map[uint64]bool
	// missed are the connections of the latest dump that are not observed, as they were at missedAt:
	// maxMissed at most. Most have begun before this process.
	missed   []Observed
	missedAt time.Duration
	budget   budget // for what is done without a dump
	covered  bool   // all connections of the latest dump are observed, or in missed
	roster   roster // for the watcher
	// old are the cookies of missed as of the latest dump that was covered; nil: there was none.
	old map[uint64]bool
	// outside is the Instant.Up until which connections may begin that are not observed.
	outside time.Duration
	// active and before are as in state, of the passes that look at observed connections.
	active, before activity
}

// observe reads the observed connections, and tells whether there are any observations.
func (s *Sampler) observe() bool {
	o := &s.observed
	o.flows = o.flows[:0]
	if s.options.Observe == nil {
		return false
	}
	return s.options.Observe(func(f *Observed) { o.flows = append(o.flows, *f) })
}

// readConnections feeds the paths, by a dump of the kernel's list if one is needed and permitted,
// or else by what is observed. Both take their share of a processor at most. It returns whether
// anything happened on a connection.
func (s *Sampler) readConnections(now Instant) (active bool) {
	st, o := &s.state, &s.observed
	doubt, idle := st.doubtful(), now.Up-s.used
	due, following := now.Up-s.budget.last >= reconcile, st.watcher != nil && st.watcher.Following()
	soon := now.Up + s.options.Interval/2 // a pass may come a little early
	if o.covered && !due && !doubt && !o.budget.allows(soon, false, idle) {
		return false
	}
	if !o.covered && !s.budget.allows(soon, doubt, idle) {
		return false
	}
	runtime.LockOSThread() // a thread's time is measured
	defer runtime.UnlockOSThread()
	before := s.threadTime()
	observed := s.observe()
	o.covered = o.covered && observed
	doubt = doubt || o.covered && o.stalled(st)
	followed := o.covered && following && !doubt && !due && s.follow(now)
	if (!o.covered || doubt || due || following && !followed) && s.budget.allows(soon, doubt, idle) {
		o.beginDump(now, observed)
		active = s.readSockets(now)
		o.covered = observed && !s.failed[connections] && s.coveredBy()
		o.compare(now.Up)
		s.budget.spent(now.Up, s.threadTime()-before)
		return active
	}
	if !o.covered {
		return false
	}
	if !followed {
		s.readEnded(now)
	}
	active = st.takeObserved(now, o)
	o.budget.spent(now.Up, s.threadTime()-before)
	return active
}

// beginDump prepares to find out whether all connections of a dump are observed.
func (o *observation) beginDump(now Instant, observed bool) {
	if o.missed, o.missedAt = o.missed[:0], now.Up; !observed {
		return
	}
	if o.cookies == nil {
		o.cookies = map[uint64]bool{}
	}
	clear(o.cookies)
	for i := range o.flows {
		o.cookies[o.flows[i].Cookie] = true
	}
}

// dumped notes a connection of a dump.
func (o *observation) dumped(s *tcpSocket) {
	if o.cookies[s.Cookie] || len(o.missed) == maxMissed {
		return
	}
	f := Observed{
		Local: s.Local, Remote: s.Remote, Device: s.Device, Cookie: s.Cookie, Silent: time.Duration(s.Heard) * time.Millisecond, Segments: s.Segments, Sample: s.Sample,
	}
	if s.Stalled {
		f.Timeouts = stallRetransmits
	}
	o.missed = append(o.missed, f)
}

// coveredBy tells whether all connections of the latest dump are observed, be it since the dump
// began, or remembered.
func (s *Sampler) coveredBy() bool {
	o := &s.observed
	if len(o.missed) == 0 {
		return true
	}
	if len(o.missed) == maxMissed || !s.observe() {
		return false
	}
	for i := range o.flows {
		o.cookies[o.flows[i].Cookie] = true
	}
	// An attempt to dump that was interrupted may have left a connection here, too.
	o.missed = slices.DeleteFunc(o.missed, func(f Observed) bool {
		known := o.cookies[f.Cookie]
		o.cookies[f.Cookie] = true
		return known
	})
	return true
}

// compare finds out, after a dump, whether connections begin that are not observed, such as those
// of control groups that are left out.
func (o *observation) compare(now time.Duration) {
	if !o.covered {
		o.old = nil
		return
	}
	old := o.old
	o.old = make(map[uint64]bool, len(o.missed))
	for i := range o.missed {
		o.old[o.missed[i].Cookie] = true
		if old != nil && !old[o.missed[i].Cookie] {
			o.outside = now + mayBegin
		}
	}
}

// stalled tells whether a connection of a managed prefix gets no answer.
func (o *observation) stalled(st *state) bool {
	waits := func(f Observed) bool { return f.Timeouts >= stallRetransmits && len(st.byAddr[f.Local]) > 0 }
	return slices.ContainsFunc(o.flows, waits) || slices.ContainsFunc(o.missed, waits)
}

// takeObserved feeds the paths from what is observed. What else a dump tells stays as it is.
func (st *state) takeObserved(now Instant, o *observation) (active bool) {
	st.dests.begin()
	for _, p := range st.paths {
		p.samples = p.samples[:0]
	}
	o.active = activity{}
	for i := range o.flows {
		st.takeOne(now, o, &o.flows[i], 0)
	}
	for i := range o.missed {
		st.takeOne(now, o, &o.missed[i], now.Up-o.missedAt)
	}
	for _, p := range st.paths {
		p.estimator.Add(now, p.samples)
	}
	st.dests.end(now)
	active = o.active != o.before || st.ends > 0
	o.before, st.ends = o.active, 0
	return active
}

// takeOne feeds the paths from one connection, as it was some time ago.
func (st *state) takeOne(now Instant, o *observation, f *Observed, ago time.Duration) {
	paths := st.byAddr[f.Local]
	if len(paths) == 0 {
		return
	}
	o.active.conns++
	o.active.segments += uint64(f.Segments)
	for _, p := range paths {
		if len(paths) > 1 && f.Device != 0 && int(f.Device) != p.index || p.begun > 0 && f.Silent+ago > now.Up-p.begun {
			continue
		}
		p.samples = append(p.samples, f.Sample)
		if f.Sample.RTT > 0 {
			st.dests.add(now, keyOf(p.tag, f.Remote), f.Sample)
		}
	}
}
