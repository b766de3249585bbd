package pathstat

import (
	"net/netip"
	"slices"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// state is what the sampler keeps from one pass to the next.
type state struct {
	interval time.Duration
	watcher  Watcher    // nil: none
	memory   Memory     // nil: none
	told     Connection // the connection told to it last
	source   *[]Prefix  // argument of the latest call of set
	prefixes []Prefix

	paths   map[policy.PrefixID]*path
	tags    map[policy.PrefixID]int // never modified, because snapshots share it
	byAddr  map[[16]byte][]*path
	addrs   []netip.Addr // the keys of byAddr
	links   map[string]*link
	byIndex map[int]*link
	dests   *destTracker

	// These describe the connections in this pass and in the one before.
	activity, before activity
	// ends is the number of connections that have ended since the pass before.
	ends int
}

// activity is a summary of all connections. If it is the same in two passes, nothing
// has happened in between.
type activity struct {
	conns    int
	segments uint64
}

type path struct {
	id policy.PrefixID
	stay
	tag       int // marks its destinations
	index     int // interface
	estimator PathEstimator
	samples   []Sample   // of this pass
	flow      Flow       // of this pass; has no meaning without samples
	ended     []endedRTT // the latest ones, oldest first
}

type link struct {
	name  string
	index int
	stay
	loopback  bool
	estimator *LinkEstimator
	seen      bool // a dump has listed it
	counters  LinkCounters
	then      LinkCounters // at the latest dump of connections
	bytes     uint64
	stats     policy.LinkStats
}

func newState(interval time.Duration, maxDestinations int, w Watcher, m Memory) state {
	return state{
		interval: interval,
		watcher:  w,
		memory:   m,
		paths:    map[policy.PrefixID]*path{},
		links:    map[string]*link{},
		dests:    newDestTracker(maxDestinations),
	}
}

// set takes a new list of prefixes, and keeps the estimators of those that remain. An
// interface that was made again, with another index, begins again. The figures of its
// prefixes stay. An interface that is attached to something else begins with the
// figures that the memory has of that attachment.
func (st *state) set(now Instant, source *[]Prefix) {
	st.source, st.prefixes = source, *source
	old, oldLinks := st.paths, st.links
	st.paths, st.links = map[policy.PrefixID]*path{}, map[string]*link{}
	st.byAddr, st.byIndex = map[[16]byte][]*path{}, map[int]*link{}
	st.addrs = nil

	stays := map[policy.PrefixID]uint64{}
	for i := range st.prefixes {
		stays[st.prefixes[i].ID] = st.prefixes[i].Stay
	}
	used := map[int]bool{}
	for id, p := range old {
		used[p.tag] = true
		// This comes before anything is recalled, which may be of the same attachment.
		if stay, there := stays[id]; !there || stay != p.number {
			st.keepPath(p)
		}
	}
	for i := range st.prefixes {
		p := &st.prefixes[i]
		st.addLink(p, oldLinks)
		if p.Loopback {
			continue
		}
		known := st.paths[p.ID]
		if known == nil {
			known = old[p.ID]
		}
		begun := time.Duration(0) // of a prefix that is new all connections count
		if known != nil && known.number != p.Stay {
			known, begun = nil, now.Up
		}
		if known == nil {
			known = &path{id: p.ID, tag: freeTag(used), stay: stay{number: p.Stay, begun: begun}}
		}
		known.index = p.Index
		if known.renamed(p) {
			st.recallPath(now, known)
		}
		st.paths[p.ID] = known
		for _, a := range p.Addrs {
			key := a.WithZone("").As16()
			if st.byAddr[key] == nil {
				st.addrs = append(st.addrs, a.WithZone("").Unmap())
			}
			if !slices.Contains(st.byAddr[key], known) {
				st.byAddr[key] = append(st.byAddr[key], known)
			}
		}
	}
	st.tags = map[policy.PrefixID]int{}
	for id, p := range st.paths {
		st.tags[id] = p.tag
	}
	for name, l := range oldLinks {
		if st.links[name] == nil {
			st.keepLink(l)
		}
	}
	for id, p := range old {
		if st.paths[id] != p {
			st.dests.forget(p.tag)
		}
	}
}

// freeTag returns the lowest unused tag and marks it as used. Tags of prefixes that are
// gone stay used until the next change, because an old snapshot must not name the
// destinations of another prefix.
func freeTag(used map[int]bool) int {
	for tag := range maxTags {
		if !used[tag] {
			used[tag] = true
			return tag
		}
	}
	return maxTags - 1
}

func (st *state) addLink(p *Prefix, old map[string]*link) {
	name := p.ID.Interface
	if st.links[name] != nil {
		return
	}
	l := old[name]
	if l == nil || l.index != p.Index || l.number != p.Stay {
		if l != nil {
			st.keepLink(l)
		}
		l = &link{name: name, index: p.Index, stay: stay{number: p.Stay}, estimator: NewLinkEstimator(st.interval)}
	}
	l.loopback = p.Loopback
	if l.renamed(p) {
		st.recallLink(l)
	}
	st.links[name] = l
	st.byIndex[p.Index] = l
}

// add takes the counters of a pass, which were read between two instants. It returns
// whether the link was in use.
func (l *link) add(after, before Instant, c LinkCounters, planned time.Duration) (busy bool) {
	l.seen, l.bytes, l.counters = true, c.RxBytes+c.TxBytes, c
	if l.loopback {
		l.stats = policy.LinkStats{Time: before.Wall, RxErrors: c.RxErrors, TxErrors: c.TxErrors}
		return false
	}
	l.estimator.AddBetween(after, before, c, planned)
	l.stats = l.estimator.Stats()
	return l.stats.DownRate > quietRate || l.stats.UpRate > quietRate
}

// begin starts the reading of connections. It discards an unfinished reading.
func (st *state) begin() {
	st.activity = activity{}
	st.dests.begin()
	if st.watcher != nil {
		st.watcher.Begin()
	}
	for _, p := range st.paths {
		p.samples, p.flow = p.samples[:0], Flow{}
	}
}

// add takes a connection. The connection counts for each prefix that has its local
// address. If prefixes on different interfaces have it, the socket's device decides. add returns
// false if it counts for none. follow tells whether the watcher wants its figures at each pass.
func (st *state) add(now Instant, s *tcpSocket) (counts, follow bool) {
	paths := st.byAddr[s.Local]
	if len(paths) == 0 {
		return false, false
	}
	st.activity.conns++
	st.activity.segments += uint64(s.Segments)
	if st.watcher != nil {
		follow = st.tell(s, 0)
	}
	for _, p := range paths {
		if len(paths) > 1 && s.Device != 0 && int(s.Device) != p.index {
			continue
		}
		// A connection that has received nothing at this attachment tells about the former one.
		if p.begun > 0 && time.Duration(s.Heard)*time.Millisecond > now.Up-p.begun {
			continue
		}
		p.hear(s)
		p.samples = append(p.samples, s.Sample)
		if s.Sample.RTT > 0 {
			st.dests.add(now, keyOf(p.tag, s.Remote), s.Sample)
		}
	}
	return true, follow
}

// tell tells the watcher of a connection, whose figures are of some time ago. It returns whether
// the watcher wants them at each pass.
func (st *state) tell(s *tcpSocket, ago time.Duration) (follow bool) {
	paths := st.byAddr[s.Local]
	for _, p := range paths {
		if len(paths) > 1 && s.Device != 0 && int(s.Device) != p.index {
			continue
		}
		st.told = s.connection()
		st.told.Age = ago
		follow = st.watcher.Connection(p.id, &st.told) || follow
	}
	return follow
}

// connection converts s for a Watcher.
func (s *tcpSocket) connection() Connection {
	at := func(addr [16]byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(addr).Unmap(), port)
	}
	return Connection{
		Local: at(s.Local, s.LocalPort), Remote: at(s.Remote, s.RemotePort), UID: s.UID, Inode: s.Inode, Cookie: s.Cookie,
		Received: s.BytesReceived, Silent: time.Duration(s.Silent) * time.Millisecond, RTT: time.Duration(s.Sample.RTT) * time.Microsecond, MinRTT: time.Duration(s.MinRTT) * time.Microsecond,
	}
}

// hear adds a connection to the flow. Call it before the connection's sample is added.
func (p *path) hear(s *tcpSocket) {
	heard := time.Duration(s.Heard) * time.Millisecond
	if len(p.samples) == 0 || heard < p.flow.Heard {
		p.flow.Heard = heard
	}
	if s.Stalled {
		p.flow.Stalled++
	}
}

// doubtful tells whether a network may be silent: since the latest dump of connections its
// link has sent something and received nothing, or all of its connections had heard nothing
// for a while then, and some of them wanted to.
func (st *state) doubtful() bool {
	for _, l := range st.links {
		if !l.loopback && l.counters.TxBytes > l.then.TxBytes && l.counters.RxBytes == l.then.RxBytes {
			return true
		}
	}
	for _, p := range st.paths {
		if p.flow.Stalled > 0 && p.flow.Heard >= silence {
			return true
		}
	}
	return false
}

// silence is how long connections that expect something have heard nothing when their
// network becomes doubtful.
const silence = time.Second

// end computes the figures of the connections. It returns whether anything happened on
// one of them.
func (st *state) end(now Instant) (active bool) {
	for _, l := range st.links {
		l.then = l.counters
	}
	for _, p := range st.paths {
		p.estimator.Add(now, p.samples)
	}
	st.dests.end(now)
	active = st.activity != st.before || st.ends > 0
	st.before, st.ends = st.activity, 0
	return active
}

func (st *state) snapshot(now Instant) *Snapshot {
	s := &Snapshot{
		Time:     now.Wall,
		Prefixes: st.prefixes,
		Paths:    make(map[policy.PrefixID]policy.PathStats, len(st.paths)),
		Links:    make(map[string]policy.LinkStats, len(st.links)),
		Flows:    make(map[policy.PrefixID]Flow, len(st.paths)),
		Ended:    make(map[policy.PrefixID]time.Duration),
		Bytes:    make(map[int]uint64, len(st.links)),
		Indexes:  make(map[string]int, len(st.links)),
		tags:     st.tags,
		dests:    st.dests.table,
	}
	for id, p := range st.paths {
		if stats := p.estimator.Stats(); !stats.Time.IsZero() {
			s.Paths[id] = stats
		}
		if len(p.samples) > 0 {
			s.Flows[id] = p.flow
		}
		if rtt := p.lately(now); rtt > 0 {
			s.Ended[id] = rtt
		}
	}
	for name, l := range st.links {
		s.Indexes[name] = l.index
		if l.seen {
			s.Links[name], s.Bytes[l.index] = l.stats, l.bytes
		}
	}
	return s
}
