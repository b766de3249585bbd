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

// Options of a Sampler. The zero value is fine.
type Options struct {
	// Interval between passes; 0 or negative: DefaultInterval, and never below
	// MinInterval.
	Interval time.Duration
	// MaxInterval while nothing happens; 0: DefaultMaxInterval, negative or
	// below Interval: never slow down.
	MaxInterval time.Duration
	// MaxDestinations bounds the networks with figures of their own; 0 or
	// negative: DefaultMaxDestinations.
	MaxDestinations int
	// Clock tells the time; nil: Now.
	Clock func() Instant
	// OnSnapshot, if set, is called with each snapshot after it was published,
	// in the sampler's goroutine: it must not block.
	OnSnapshot func(*Snapshot)
	// Watcher, if set, is told of each connection that a pass finds, in the sampler's
	// goroutine: it must not block.
	Watcher Watcher
}

// Watcher is told of connections.
type Watcher interface {
	// Begin says that a pass begins, or begins anew: what it has found so far is void.
	Begin()
	// Connection tells of a connection of a prefix. It is valid during the call only.
	Connection(over policy.PrefixID, c *Connection)
	// End says that the pass has ended. If it is not complete, connections may be missing.
	End(now time.Time, complete bool)
	// Fail says that connections cannot be read.
	Fail()
}

// Connection is a TCP connection that the kernel lists. Those that are being opened, and
// those in TIME_WAIT, are not.
type Connection struct {
	Local, Remote netip.AddrPort // IPv4 not mapped
	UID           uint32         // its owner's, valid unless Inode is 0
	Inode         uint32         // of its file; 0: no process has it, as it is closed or not accepted yet
}

// MinInterval is the shortest interval: the histories would take ten times the
// memory they need at 100 ms.
const MinInterval = 10 * time.Millisecond

// Sampler measures the prefixes it was given, again and again, and publishes a
// snapshot after each pass.
type Sampler struct {
	options Options
	log     *slog.Logger

	wanted   atomic.Pointer[[]Prefix]
	snapshot atomic.Pointer[Snapshot]
	wifi     atomic.Pointer[map[string]*policy.WifiStats]
	wake     chan struct{} // one slot
	slow     atomic.Bool   // the pace is slower than the interval, so Wake must end it
	expected atomic.Bool   // Wake was called since the last pass began

	// The kernel, replaced in tests.
	sockets  socketSource
	links    linkSource
	wireless wifiSource

	// The rest belongs to Run.
	pace     pace
	state    state
	nextDump time.Duration // Instant.Up before which sockets are not read again
	failed   map[string]bool
	counters []counted // of this pass
}

// counted is what a link had counted.
type counted struct {
	link *link
	LinkCounters
}

type socketSource interface {
	Read(addrs []netip.Addr, begin func(), visit func(*tcpSocket)) (interrupted bool, err error)
	Close() error
}

type linkSource interface {
	Read(visit func(index int, c LinkCounters)) error
	Close() error
}

type wifiSource interface {
	// Read returns what is known of the wireless interfaces, by name; load says
	// whether to look for the access points' load too.
	Read(load bool) (map[string]*policy.WifiStats, error)
	Close() error
}

// New makes a sampler; Run sets it to work. A nil logger discards.
func New(o Options, log *slog.Logger) *Sampler {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	o.Interval = max(o.Interval, MinInterval)
	if o.MaxInterval == 0 {
		o.MaxInterval = DefaultMaxInterval
	}
	if o.Clock == nil {
		o.Clock = Now
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sampler{
		options:  o,
		log:      log,
		wake:     make(chan struct{}, 1),
		sockets:  newDiagSockets(),
		links:    newLinkReader(),
		wireless: newWifiReader(o.Clock),
		pace:     newPace(o.Interval, o.MaxInterval),
		state:    newState(o.Interval, o.MaxDestinations, o.Watcher),
		failed:   map[string]bool{},
	}
	s.snapshot.Store(&Snapshot{dests: s.state.dests.table})
	return s
}

// Set says which prefixes to measure from now on. What is known of those that
// were there before is kept. The sampler keeps the slice: do not modify it.
// Set does not block and is safe for concurrent use.
func (s *Sampler) Set(prefixes []Prefix) {
	s.wanted.Store(&prefixes)
	s.Wake()
}

// Wake ends a slower pace: the next pass follows at most an interval after the
// last one. To be called when connections are about to appear, as after a
// decision. It does not block and is safe for concurrent use.
func (s *Sampler) Wake() {
	// At full pace there is nothing to end, and to ready a goroutine for each decision
	// costs a twelfth of the daemon's time. Wake sets expected and then looks at slow;
	// slowDown sets slow and then looks at expected. So one of them sees the other.
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

// slowDown lets Wake end a slow pace that begins. It says whether Wake was called
// already, after the last pass began.
func (s *Sampler) slowDown() (woken bool) {
	s.slow.Store(true)
	return s.expected.Load() && s.slow.CompareAndSwap(true, false)
}

// Snapshot returns the newest snapshot, never nil: one atomic load.
func (s *Sampler) Snapshot() *Snapshot { return s.snapshot.Load() }

// Run measures until the context ends, and returns its cause. What cannot be
// read is logged once and left out. Run may be called once.
func (s *Sampler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.runPasses(ctx) })
	g.Go(func() error { return s.runWifi(ctx) })
	return g.Wait()
}

// leastLate is which part of an interval makes a pass late: more than timers and
// short passes are on an idle host.
const leastLate = 8

func (s *Sampler) runPasses(ctx context.Context) error {
	defer func() {
		_ = s.sockets.Close()
		_ = s.links.Close()
	}()
	start := time.Now()
	// Times since start: when the last pass was due, and when the next one is.
	var last, due time.Duration
	planned := s.pace.base // from last to due, as it was first meant
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
			s.expected.Store(false)
			quiet := s.pass(s.options.Clock(), planned)
			planned = s.pace.after(quiet)
			// Planning from the last due time keeps the mean interval exact; a
			// pass that took too long is not made up for. Else the next one would
			// look at a shorter time, in which a burst is a higher rate.
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

// pass measures once and publishes the result. It says whether it was quiet.
func (s *Sampler) pass(now Instant, planned time.Duration) (quiet bool) {
	st := &s.state
	changed := false
	if wanted := s.wanted.Load(); wanted != st.source {
		st.set(wanted)
		s.nextDump = 0
		changed = true
	}
	busy := s.readLinks(now, planned)
	if len(st.addrs) > 0 && now.Up >= s.nextDump {
		active := s.readSockets(now)
		busy = busy || active
		// What waiting for the CPU took counts as well: on a busy host the
		// sampler steps back.
		cost := s.options.Clock().Up - now.Up
		s.nextDump = now.Up + min(costShare*cost, max(DefaultMaxInterval, s.options.MaxInterval)) - s.options.Interval/2
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
	// The dump itself may have had to wait for the CPU.
	read := s.options.Clock()
	for _, c := range s.counters {
		busy = c.link.add(now, read, c.LinkCounters, planned) || busy
	}
	s.report("link counters", err)
	return busy
}

// readSockets feeds the paths; it says whether anything happened on a connection.
func (s *Sampler) readSockets(now Instant) (active bool) {
	st := &s.state
	// One more attempt if the table changed under the dump; a second time the
	// picture is taken as it is, at worst a connection short.
	complete := false
	for range 2 {
		interrupted, err := s.sockets.Read(st.addrs, st.begin, func(sock *tcpSocket) { st.add(now, sock) })
		s.report("TCP connections", err)
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

// report logs that a source fails, once until it works again.
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
	wifiLoad     = 5                // readings of the station per reading of the access point's load
	wifiRetry    = 60 * time.Second // between looks for wireless hardware
)

// runWifi reads wireless links beside the passes, as drivers may take their time.
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
		// To have no wireless hardware is no failure.
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
