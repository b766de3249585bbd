package pathstat

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/socket-intents/mamma/policy"
)

// Options are the settings of a Sampler. The zero value is usable.
type Options struct {
	// Interval is the time between passes. Zero or negative means DefaultInterval. It
	// is never below MinInterval.
	Interval time.Duration
	// MaxInterval is the time between passes while nothing happens. Zero means
	// DefaultMaxInterval. A value that is negative or below Interval means never to
	// slow down.
	MaxInterval time.Duration
	// CPU is the share of one processor that reading the host's connections may take:
	// 0.01 is one hundredth. Zero or negative means DefaultCPU. What was read is carried
	// over to the passes between.
	CPU float64
	// MaxDestinations bounds the destination networks with figures of their own. Zero
	// or negative means DefaultMaxDestinations.
	MaxDestinations int
	// Clock tells the time; nil: Now.
	Clock func() Instant
	// OnSnapshot is called with each snapshot after its publication, in the sampler's
	// goroutine: the next pass waits until it returns. It may be nil.
	OnSnapshot func(*Snapshot)
	// Watcher is told about each connection that a pass finds, in the sampler's
	// goroutine, so it must not block. It may be nil.
	Watcher Watcher
	// OnEnded is told of each TCP connection of the host that has ended, in the sampler's
	// goroutine, so it must not block. Some are missing if hundreds end between two readings.
	// Connections of Multipath TCP are told as their subflows. It may be nil.
	OnEnded func(Ended)
	// Observe calls its argument for each TCP connection whose figures the kernel reports by
	// itself, and returns false if it reports none. If it reports some, the kernel's list is read
	// rarely. Connections that are in the list only, up to some thousands, count as they were then. It is called in the sampler's goroutine. It may be nil.
	Observe func(func(*Observed)) bool
	// Memory, if set, keeps what was measured of attachments. It is called in the
	// sampler's goroutine: it must not block.
	Memory Memory
}

// Watcher is told about connections.
type Watcher interface {
	// Begin says that a pass begins. An unfinished pass before it does not count.
	Begin()
	// Ended reports a connection on a prefix that has ended since the pass before. It is
	// called between passes, before Begin. The connection is valid during the call only.
	// Some are missing, above all where many end.
	Ended(over policy.PrefixID, c *Connection)
	// Following tells whether it waits for a connection, or follows what one brings. If not, and
	// the figures of connections come without passes, passes may be rare.
	Following() bool
	// Connection reports a connection on a prefix. It is valid during the call only. The result
	// tells whether its figures are wanted at each pass. If not, those of later passes may be old.
	Connection(over policy.PrefixID, c *Connection) (follow bool)
	// End says that the pass has ended. If it is not complete, connections may be missing.
	End(now time.Time, complete bool)
	// Fail says that connections cannot be read.
	Fail()
}

// Connection is a TCP connection in the kernel's list. Connections that are being
// opened, and those in TIME_WAIT, are not in the list.
type Connection struct {
	Local, Remote netip.AddrPort // IPv4 not mapped
	UID           uint32         // user id of the owner; means nothing if Inode is 0
	Inode         uint32         // of its file; 0: no process has it, because it is closed or not accepted yet
	Cookie        uint64         // a number that no other socket has until the host is restarted (SO_COOKIE)
	Received      uint64         // bytes of data that have come in all, as in Ended
	Silent        time.Duration  // since data last came
	RTT, MinRTT   time.Duration  // smoothed, and the least one; 0: unknown
	Age           time.Duration  // of all figures but the addresses and the cookie; 0: they are of this pass
}

// Ended is a TCP connection that has ended.
type Ended struct {
	Cookie uint64 // of its socket (SO_COOKIE)
	// Sent and Received are numbers of data bytes: sent and acknowledged, and received in
	// order. Received may be one too high, because the kernel counts the peer's FIN. Both
	// are 0 before Linux 4.1.
	Sent, Received uint64
}

// MinInterval is the shortest interval. At this interval the histories take ten times
// the memory that they need at 100 ms.
const MinInterval = 10 * time.Millisecond

// Sampler measures the given prefixes in passes, and publishes a snapshot after each
// pass.
type Sampler struct {
	options Options
	log     *slog.Logger

	wanted   atomic.Pointer[[]Prefix]
	snapshot atomic.Pointer[Snapshot]
	wifi     atomic.Pointer[map[string]*policy.WifiStats]
	wake     chan struct{} // one slot
	slow     atomic.Bool   // the pace is slower than the interval, so Wake must end it
	// forgetting is the interface of which, and "" that of everything, is to be forgotten.
	forgetting atomic.Pointer[string]
	expected   atomic.Bool // Wake was called since the last pass began

	// The sources in the kernel; tests replace them.
	sockets  socketSource
	single   singleSource
	ended    endedSource
	links    linkSource
	wireless wifiSource
	// threadTime tells how much processor time the calling thread has used.
	threadTime func() time.Duration

	// The fields below belong to Run.
	pace     pace
	used     time.Duration // Instant.Up of the first pass after the latest call of Wake
	state    state
	observed observation
	nextKeep time.Duration // Instant.Up before which nothing is handed to the memory
	budget   budget
	failed   map[string]bool
	counters []counted // of this pass
}

// counted is the state of a link's counters in a pass.
type counted struct {
	link *link
	LinkCounters
}

type socketSource interface {
	Read(addrs []netip.Addr, begin func(), visit func(*tcpSocket)) (interrupted bool, err error)
	Close() error
}

type singleSource interface {
	// Read calls visit for each of some connections that is still there, with its place in the list.
	Read(list []question, visit func(i int, s *tcpSocket)) error
	Close() error
}

type endedSource interface {
	Read(visit func(*tcpSocket)) error
	Close() error
}

type linkSource interface {
	Read(visit func(index int, c LinkCounters)) error
	Close() error
}

type wifiSource interface {
	// Read returns what is known about the wireless interfaces, by name. load tells it
	// to read the access points' load, too.
	Read(load bool) (map[string]*policy.WifiStats, error)
	Close() error
}

// New makes a sampler, which measures nothing before Run. A nil logger logs nothing.
func New(o Options, log *slog.Logger) *Sampler {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	o.Interval = max(o.Interval, MinInterval)
	if o.MaxInterval == 0 {
		o.MaxInterval = DefaultMaxInterval
	}
	if o.CPU <= 0 {
		o.CPU = DefaultCPU
	}
	if o.Clock == nil {
		o.Clock = Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sampler{
		options:    o,
		log:        log,
		wake:       make(chan struct{}, 1),
		sockets:    newDiagSockets(),
		single:     &singleSockets{},
		ended:      newEndedSockets(),
		links:      newLinkReader(),
		wireless:   newWifiReader(o.Clock),
		threadTime: threadTime,
		budget:     budget{share: o.CPU},
		observed:   observation{budget: budget{share: o.CPU}},
		pace:       newPace(o.Interval, o.MaxInterval),
		state:      newState(o.Interval, o.MaxDestinations, o.Watcher, o.Memory),
		failed:     map[string]bool{},
	}
	s.snapshot.Store(&Snapshot{dests: s.state.dests.table})
	return s
}

// Set says which prefixes to measure from now on. Figures of prefixes that were
// measured before are kept. The sampler keeps the slice, so do not modify it. Set does
// not block and is safe for concurrent use.
func (s *Sampler) Set(prefixes []Prefix) {
	s.wanted.Store(&prefixes)
	s.Wake()
}

// Forget drops what is known about the prefixes of an interface, "" for all, at the
// next pass. The Memory is told so, too. It does not block and is safe for concurrent
// use.
func (s *Sampler) Forget(iface string) {
	s.forgetting.Store(&iface)
	s.Wake()
}

// Wake ends a slow pace: the next pass then follows within an interval of the last one.
// Call it when connections are about to appear, for instance after a decision. It does
// not block and is safe for concurrent use.
func (s *Sampler) Wake() {
	// At full pace there is nothing to end. Waking a goroutine for each decision would
	// cost a twelfth of the daemon's time. Wake sets expected and then reads slow;
	// slowDown sets slow and then reads expected. So at least one of them sees what the
	// other has set.
	if !s.expected.Load() {
		s.expected.Store(true)
	}
	if !s.slow.CompareAndSwap(true, false) {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// slowDown lets Wake end the slow pace that begins now. It returns true if Wake was
// already called since the last pass began.
func (s *Sampler) slowDown() (woken bool) {
	s.slow.Store(true)
	return s.expected.Load() && s.slow.CompareAndSwap(true, false)
}

// Snapshot returns the newest snapshot, which is never nil. It costs one atomic load.
func (s *Sampler) Snapshot() *Snapshot { return s.snapshot.Load() }

// Run measures until the context ends, and returns the context's cause. A source that
// cannot be read is logged once and left out. Run may be called once.
func (s *Sampler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.runPasses(ctx) })
	g.Go(func() error { return s.runWifi(ctx) })
	return g.Wait()
}

// leastLate is the part of an interval by which a pass must be late to count as late.
// Timers and short passes on an idle host stay below it.
const leastLate = 8

func (s *Sampler) runPasses(ctx context.Context) error {
	defer func() {
		s.state.keepAll()
		_, _ = s.sockets.Close(), s.single.Close()
		_ = s.ended.Close()
		_ = s.links.Close()
	}()
	start := time.Now()
	// These are times since the start: when the last pass was due, and when the next
	// one is.
	var last, due time.Duration
	planned := s.pace.base // from last to due, as planned
	timer := time.NewTimer(0)
	defer timer.Stop()
	hurry := func() {
		if due-last > s.pace.base {
			s.pace.wake()
			due = last + s.pace.base
			timer.Reset(due - time.Since(start))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.wake:
			hurry()
		case <-timer.C:
			s.slow.Store(false)
			now := s.options.Clock()
			if s.expected.Swap(false) {
				s.used = now.Up
			}
			quiet := s.pass(now, planned)
			planned = s.pace.after(quiet, now.Up-s.used)
			// The next pass is planned from the due time of this one, which keeps the
			// mean interval exact. A pass that took too long is not made up for: the
			// next one would cover a shorter time, in which a burst looks like a higher
			// rate.
			last, due = due, due+planned
			if now := time.Since(start); due < now+planned-s.pace.base/leastLate {
				last, due = now, now+planned
			}
			timer.Reset(due - time.Since(start))
			if due-last > s.pace.base && s.slowDown() {
				hurry()
			}
		}
	}
}

// pass measures once and publishes the result. It returns whether the pass was quiet.
func (s *Sampler) pass(now Instant, planned time.Duration) (quiet bool) {
	st := &s.state
	changed := false
	if wanted := s.wanted.Load(); wanted != st.source {
		st.set(now, wanted)
		s.budget.cost, s.observed.covered = 0, false
		changed = true
	}
	if f := s.forgetting.Swap(nil); f != nil {
		st.forget(*f)
	}
	busy := s.readLinks(now, planned)
	if len(st.addrs) > 0 {
		busy = s.readConnections(now) || busy
	}
	if st.memory != nil && now.Up >= s.nextKeep {
		s.nextKeep = now.Up + keepInterval
		st.keepAll()
	}
	snap := st.snapshot(now)
	if w := s.wifi.Load(); w != nil {
		snap.Wifi = *w
	}
	s.snapshot.Store(snap)
	if s.options.OnSnapshot != nil {
		s.options.OnSnapshot(snap)
	}
	return !busy && !changed
}

func (s *Sampler) readLinks(now Instant, planned time.Duration) (busy bool) {
	if len(s.state.byIndex) == 0 {
		return false
	}
	s.counters = s.counters[:0]
	err := s.links.Read(func(index int, c LinkCounters) {
		if l := s.state.byIndex[index]; l != nil {
			s.counters = append(s.counters, counted{l, c})
		}
	})
	// The dump itself may have waited for the CPU.
	read := s.options.Clock()
	for _, c := range s.counters {
		busy = c.link.add(now, read, c.LinkCounters, planned) || busy
	}
	s.report("link counters", err)
	return busy
}

// readEnded takes the connections that have ended.
func (s *Sampler) readEnded(now Instant) {
	st := &s.state
	s.report("TCP connections that have ended", s.ended.Read(func(sock *tcpSocket) {
		st.ended(now, sock)
		s.observed.roster.drop(sock.Cookie)
		if s.options.OnEnded != nil {
			s.options.OnEnded(Ended{sock.Cookie, sock.BytesSent, sock.BytesReceived})
		}
	}))
}

// connections is the source of which readSockets reports errors.
const connections = "TCP connections"

// readSockets feeds the paths. It returns whether anything happened on a connection.
func (s *Sampler) readSockets(now Instant) (active bool) {
	st := &s.state
	// A connection that ends between the two readings counts in the next pass.
	s.readEnded(now)
	// There is a second attempt if the table changed during the dump. The result of the
	// second attempt is used in any case. At worst a connection is missing.
	complete := false
	for range 2 {
		begin := func() { st.begin(); s.observed.roster.begin() }
		interrupted, err := s.sockets.Read(st.addrs, begin, func(sock *tcpSocket) {
			if counts, follow := st.add(now, sock); counts {
				s.observed.dumped(sock)
				s.observed.roster.add(sock, now.Up, follow, s.observed.cookies[sock.Cookie])
			}
		})
		s.report(connections, err)
		if err != nil {
			if st.watcher != nil {
				st.watcher.Fail()
			}
			return false
		}
		if complete = !interrupted; complete {
			break
		}
	}
	if st.watcher != nil {
		st.watcher.End(now.Wall, complete)
	}
	return st.end(now)
}

// report logs the failure of a source, once until it works again.
func (s *Sampler) report(source string, err error) {
	switch {
	case err != nil && !s.failed[source]:
		s.log.Warn("cannot measure", "source", source, "err", err)
	case err == nil && s.failed[source]:
		s.log.Info("measuring again", "source", source)
	}
	s.failed[source] = err != nil
}

const (
	wifiInterval = time.Second      // between readings of the station
	wifiLoad     = 5                // readings of the station for each reading of the access point's load
	wifiRetry    = 60 * time.Second // between looks for wireless hardware
)

// runWifi reads wireless links in a goroutine beside the passes, because drivers may be
// slow.
func (s *Sampler) runWifi(ctx context.Context) error {
	defer func() { _ = s.wireless.Close() }()
	failed := false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		next := wifiInterval
		stats, err := s.wireless.Read(n%wifiLoad == 0)
		if err != nil {
			next, n = wifiRetry, -1
		}
		// A host without wireless hardware is not a failure.
		if failing := err != nil && !errors.Is(err, errNoWifi); failing != failed {
			failed = failing
			if failing {
				s.log.Warn("cannot measure", "source", "wireless links", "err", err)
			}
		}
		s.wifi.Store(&stats)
		timer.Reset(next)
	}
}
