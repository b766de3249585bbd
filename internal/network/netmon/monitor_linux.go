package netmon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/network/oracle"
)

// Options are settings of a Monitor. The zero value watches the namespace of the
// caller.
type Options struct {
	// Namespace is the descriptor of the network namespace to watch; zero: that of the
	// calling thread. Only New uses it.
	Namespace int
	// Debounce is how long to wait for more events after one. Zero means 20 ms, which
	// is a few times what a network manager needs to set an interface up. There is no
	// wait after an event that a link goes down or loses its carrier.
	Debounce time.Duration
	// ReceiveBuffer is the size in bytes of the socket buffer for events. Zero means 1
	// MiB, limited by net.core.rmem_max. Overruns do no harm, see Run.
	ReceiveBuffer int
	// Kind replaces the kind of a link, which is the kernel's Link.Type. Tests use it
	// to give stand-ins a kind that the running kernel cannot make. It must be safe for
	// concurrent use. Nil means the kernel's kinds.
	Kind func(name, kernel string) string
	// Everywhere are destinations that stand in for "everywhere". If it is empty, a
	// list is used that is spread over the address space.
	Everywhere oracle.Everywhere
	// Routes makes snapshots hold routes. All routes must be read for that, which takes
	// time on hosts with many of them; see also KeepRoutes.
	Routes bool
}

// Monitor keeps a Snapshot current. Its methods may be called from several
// goroutines at once.
type Monitor struct {
	debounce time.Duration
	log      *slog.Logger
	source   source
	events   *nl.NetlinkSocket
	poke     chan struct{} // one slot: read the state again
	hurry    chan struct{} // one slot: read it at once
	parts    chan struct{} // one slot: parts of it have changed, not only answers
	changed  atomic.Uint32 // the parts to read again
	routes   atomic.Bool   // snapshots hold routes
	current  atomic.Pointer[Snapshot]
	onEvent  func()    // never nil
	until    time.Time // when an answer of the kernel ends by itself; only Run uses it
	closing  sync.Once
	doubts   doubts

	mu          sync.Mutex
	subscribers map[chan struct{}]bool
}

// groups are the event groups that lead to a new snapshot.
var groups = []uint{
	unix.RTNLGRP_LINK,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	// When a next-hop object vanishes, the kernel reports nothing about the IPv4 routes
	// that vanish with it.
	unix.RTNLGRP_NEXTHOP,
	// If a router no longer answers, the next one takes its place (RFC 4191). The
	// kernel reports nothing about the route.
	unix.RTNLGRP_NEIGH,
	// A router's message may change the lifetime of its route. The kernel reports
	// nothing about that, but it reports the prefixes and name servers in the message.
	unix.RTNLGRP_IPV6_PREFIX, unix.RTNLGRP_ND_USEROPT,
	// Settings such as ignore_routes_with_linkdown change where packets go.
	unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
}

// refresh is how often the kernel is asked again without an event. It changes some
// answers without reporting anything: for instance when a next-hop object of a group
// loses its link, or when a router's message without prefix and name server changes the
// lifetime of its route.
const refresh = 5 * time.Second

// New makes a monitor and reads the first snapshot. The caller must call Run or
// Close.
func New(options Options, log *slog.Logger) (*Monitor, error) {
	m := &Monitor{
		debounce: options.Debounce, log: log,
		onEvent: func() {}, poke: make(chan struct{}, 1), hurry: make(chan struct{}, 1), parts: make(chan struct{}, 1),
		subscribers: map[chan struct{}]bool{},
	}
	if m.debounce == 0 {
		m.debounce = 20 * time.Millisecond
	}
	ns := netns.None()
	if options.Namespace != 0 {
		ns = netns.NsHandle(options.Namespace)
	}
	// The subscription comes before the reading, so that no change is missed in
	// between.
	var err error
	if m.events, err = nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, groups...); err != nil {
		return nil, fmt.Errorf("subscribing to rtnetlink events: %w", err)
	}
	size := options.ReceiveBuffer
	if size == 0 {
		size = 1 << 20
	}
	if err := m.events.SetReceiveBufferSize(size, false); err != nil {
		m.events.Close()
		return nil, fmt.Errorf("setting the rtnetlink receive buffer: %w", err)
	}
	m.source.everywhere, m.source.own, m.source.kind = options.Everywhere, options.Namespace == 0, options.Kind
	m.routes.Store(options.Routes)
	if m.source.handle, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		m.Close()
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	// The kernel answers at once. The timeout is there so that a lost answer does not
	// block the monitor for ever.
	if err := m.source.handle.SetSocketTimeout(2 * time.Second); err != nil {
		m.Close()
		return nil, fmt.Errorf("setting the rtnetlink timeout: %w", err)
	}
	if m.source.kernel, err = oracle.Open(options.Namespace); err != nil {
		m.Close()
		return nil, err
	}
	s, again, until, err := m.source.read(nil, everything, options.Routes)
	if err != nil {
		m.Close()
		return nil, err
	}
	m.current.Store(s)
	m.until = until
	if again {
		m.wake(everything)
	}
	return m, nil
}

// Kernel answers questions about the monitored namespace until the monitor is closed.
// Its epoch rises with each event.
func (m *Monitor) Kernel() *oracle.Kernel { return m.source.kernel }

// OnEvent sets a function that is called as soon as the kernel reports a change, before
// anything is read again. It is also called for changes that were found without a
// report. By then Kernel gives new answers. Call OnEvent before Run; f must return at
// once.
func (m *Monitor) OnEvent(f func()) { m.onEvent = f }

// KeepRoutes says whether further snapshots should hold routes.
func (m *Monitor) KeepRoutes(keep bool) {
	if m.routes.Swap(keep) != keep {
		m.wake(partRoutes)
	}
}

// Refresh has everything read again, as after sleep. It does not block.
func (m *Monitor) Refresh() { m.wake(everything) }

// Close releases what New acquired. It is for monitors that are not run, because Run
// does the same when it ends.
func (m *Monitor) Close() {
	m.closing.Do(func() {
		m.doubts.end()
		m.events.Close()
		if m.source.handle != nil {
			m.source.handle.Close()
		}
		if m.source.kernel != nil {
			m.source.kernel.Close()
		}
	})
}

// Snapshot returns the latest state, never nil. It does not block.
func (m *Monitor) Snapshot() *Snapshot { return m.current.Load() }

// Subscribe returns a channel that holds one value if the snapshot was replaced since
// the last receive. cancel ends the subscription, and leaves the channel open.
func (m *Monitor) Subscribe() (changes <-chan struct{}, cancel func()) {
	c := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribers[c] = true
	return c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subscribers, c)
	}
}

// Run keeps the snapshot current. It returns nil when ctx is done, or an error when
// events cannot be received any more. Call it once.
//
// Events are only hints. After each one, Run reads the state that the event is about,
// and asks the kernel anew where packets go. So an overrun of the socket's buffer is
// handled like any other event.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	// This runs before the wait, because closing the socket ends the listener.
	defer m.events.Close()
	wg.Go(func() { cancel(m.listen(ctx)) })

	var pace pace
	for {
		idle := time.NewTimer(m.rest(time.Now()))
		select {
		case <-ctx.Done():
			idle.Stop()
			return runError(ctx)
		case <-m.poke:
			idle.Stop()
			if !m.settle(ctx, &pace) {
				return runError(ctx)
			}
		case <-idle.C:
		}
		drain(m.poke) // its event is about to be handled anyway
		start := time.Now()
		parts := part(m.changed.Swap(0))
		if m.passing() {
			parts |= partRoutes // the kernel reports neither that they live longer nor that they have ended
		}
		again, err := m.update(parts)
		pace.done(start, time.Now(), err != nil)
		if err != nil {
			m.log.WarnContext(ctx, "networks not read; trying again", "err", err)
		}
		if again || err != nil {
			m.wake(parts)
		}
	}
}

// settle waits for more events after one, and for the pace that leaves the processor to
// others. It does not wait after an event that ends connections. It returns false if
// ctx ended.
func (m *Monitor) settle(ctx context.Context, p *pace) bool {
	drain(m.parts) // of earlier events; those of later ones are in changed, too
	if m.changed.Load() == 0 && p.busy(time.Now()) {
		// Only answers may have changed, as after a route to a single destination, and
		// they were asked for just now. Requests already get the new ones.
		wait := time.NewTimer(answers)
		select {
		case <-ctx.Done():
		case <-wait.C:
		case <-m.parts:
		case <-m.hurry:
			notify(m.hurry) // for the wait below
		}
		wait.Stop()
	}
	wait := time.NewTimer(p.wait(time.Now(), m.debounce))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	case <-m.hurry:
	}
	wait.Reset(p.wait(time.Now(), 0))
	select {
	case <-ctx.Done():
		return false
	case <-wait.C:
		return true
	}
}

// passing tells whether the snapshot holds routes that will expire.
func (m *Monitor) passing() bool {
	return slices.ContainsFunc(m.Snapshot().Routes(), func(r oracle.Route) bool { return r.Expires != 0 })
}

// rest is how long to wait for an event before the kernel is asked again.
func (m *Monitor) rest(now time.Time) time.Duration {
	if m.until.IsZero() {
		return refresh
	}
	// The kernel is asked a moment after the end, because it must have noticed the end
	// itself.
	return min(refresh, max(m.until.Sub(now)+m.debounce, m.debounce))
}

// runError returns nil if the caller ended Run, else err.
func runError(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// listen receives events until the socket is closed.
func (m *Monitor) listen(ctx context.Context) error {
	for {
		messages, _, err := m.events.Receive()
		parts := everything
		switch {
		case err == nil:
			told := false
			var ended []endedLink
			parts = 0
			for i := range messages {
				p, changes := m.partOf(messages[i].Header.Type, messages[i].Data)
				parts |= p
				told = told || changes
				if l, down := linkDown(messages[i].Header.Type, messages[i].Data); down {
					ended = append(ended, l)
				}
			}
			if !told {
				continue
			}
			if len(ended) > 0 {
				m.withdraw(ended)
				// Reading begins with wake, and may take the only idle processor. Whoever
				// subscribed comes first.
				runtime.Gosched()
				m.wake(parts)
				notify(m.hurry)
				continue
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			m.log.DebugContext(ctx, "network events lost; reading all anew")
		case errors.Is(err, unix.EINTR):
			continue
		default:
			return fmt.Errorf("receiving rtnetlink events: %w", err)
		}
		m.wake(parts)
	}
}

// partOf tells which part of the state a message is about, and whether packets may now
// go elsewhere.
func (m *Monitor) partOf(kind uint16, body []byte) (p part, changes bool) {
	switch kind {
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return partRules, true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		// Only where packets go can change, since no snapshot holds this route. The
		// routes are not read again, because there may be a million of them.
		r, err := oracle.ParseRoute(body)
		if err != nil || kept(&r) || r.Object != 0 && r.Wide() {
			return partRoutes, true
		}
		// Only the first of its kind in a table counts.
		if t, ok := specific(&r); ok && kind == unix.RTM_NEWROUTE && !m.Snapshot().Specific(t.Table, t.V6) {
			return partRoutes, true
		}
		return 0, true
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP, unix.RTM_NEWPREFIX, unix.RTM_NEWNDUSEROPT:
		return partRoutes, true
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return 0, m.anotherGateway(body) || router(body) && (m.gateway(body) || m.doubts.due(time.Now(), func() { m.wake(0) }))
	case unix.RTM_NEWNETCONF, unix.RTM_DELNETCONF:
		return 0, true
	}
	// Routes come and go with a link or an address, and the kernel does not report all
	// of them.
	return partLinks | partRoutes, true
}

// linkDown tells whether a message (struct ifinfomsg) says that a link no longer
// carries anything, and which. Messages of other families are about ports of a bridge,
// and do not count.
func linkDown(kind uint16, b []byte) (l endedLink, down bool) {
	const length, index, flags = 16, 4, 8
	if kind != unix.RTM_NEWLINK && kind != unix.RTM_DELLINK || len(b) < length || b[0] != unix.AF_UNSPEC {
		return l, false
	}
	l.index = int(int32(binary.NativeEndian.Uint32(b[index:]))) //nolint:gosec // the kernel's int
	if kind == unix.RTM_DELLINK {
		return l, true
	}
	const both = unix.IFF_UP | unix.IFF_RUNNING
	set := binary.NativeEndian.Uint32(b[flags:])
	l.up = set&unix.IFF_UP != 0
	return l, set&both != both
}

// withdraw publishes a snapshot in which the links carry nothing, before anything is read.
// Reading takes milliseconds, in which requests would still be sent to a dead network.
// What was read meanwhile may replace this snapshot; what is read next does in any case.
func (m *Monitor) withdraw(ended []endedLink) {
	for {
		old := m.current.Load()
		s := old.without(ended)
		if s == old {
			return
		}
		if m.current.CompareAndSwap(old, s) {
			m.tell()
			return
		}
	}
}

// router tells whether a message about a neighbour (struct ndmsg) may change the choice
// of an IPv6 router. It may if the neighbour is a router, or does not answer, because
// then nobody knows whether it is one.
func router(b []byte) bool {
	const length, state, flags = 12, 8, 10
	if len(b) < length || b[0] != unix.AF_INET6 {
		return false
	}
	return b[flags]&unix.NTF_ROUTER != 0 || b[state]&unix.NUD_FAILED != 0
}

// anotherGateway tells whether a message about a neighbour names another link-layer address of
// a gateway than we know: somebody else has its address now.
func (m *Monitor) anotherGateway(b []byte) bool {
	n, ok := oracle.ParseNeighbour(b)
	if !ok || n.Hardware == nil {
		return false
	}
	known, gateway := m.Snapshot().state.Gateways[Gateway{n.Index, n.Addr}]
	return gateway && known != n.Hardware.String()
}

// gateway tells whether a message about a neighbour is about a gateway that we know.
func (m *Monitor) gateway(b []byte) bool {
	n, ok := oracle.ParseNeighbour(b)
	if !ok {
		return false
	}
	_, known := m.Snapshot().state.Gateways[Gateway{n.Index, n.Addr}]
	return known
}

// doubts are the reports on neighbours of which nobody knows whether they are routers. Any
// user can cause them, by sending to addresses on the link that nobody has, and so can hosts
// there. So they count at most once in the time refresh. The zero value is ready to use.
type doubts struct {
	mu    sync.Mutex
	last  time.Time
	later *time.Timer // nil: nothing is due later
}

// due tells whether a report counts now. If it does not, count is called later, once for all
// that come until then.
func (d *doubts) due(now time.Time, count func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.later != nil {
		return false
	}
	wait := refresh - now.Sub(d.last)
	if d.last.IsZero() || wait <= 0 {
		d.last = now
		return true
	}
	d.later = time.AfterFunc(wait, func() {
		d.mu.Lock()
		d.last, d.later = time.Now(), nil
		d.mu.Unlock()
		count()
	})
	return false
}

// end makes sure that count is not called any more, unless it is being called.
func (d *doubts) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.later != nil {
		d.later.Stop()
	}
}

// wake makes Run read the parts again. Without parts, Run only asks the kernel.
func (m *Monitor) wake(parts part) {
	m.source.kernel.Void()
	m.onEvent()
	m.changed.Or(uint32(parts))
	if parts != 0 {
		notify(m.parts)
	}
	notify(m.poke)
}

// drain empties the slot of a channel.
func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// notify fills the slot of a channel.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// update reads the state, and publishes it if it has changed.
func (m *Monitor) update(parts part) (again bool, err error) {
	old := m.current.Load()
	s, again, until, err := m.source.read(old, parts, m.routes.Load())
	if err != nil {
		return false, err
	}
	m.until = until
	if s.Equal(old) {
		return again, nil
	}
	m.source.kernel.Void() // its answers may have changed without an event
	m.current.Store(s)
	m.onEvent()
	m.tell()
	return again, nil
}

// tell tells subscribers that there is another snapshot.
func (m *Monitor) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.subscribers {
		notify(c)
	}
}

// pace keeps reading below a fifth of a core on hosts with very many routes. It also
// puts time between failed tries.
type pace struct {
	end      time.Time
	cost     time.Duration
	failures int
}

// answers is how long to wait before answers alone are asked for again. Each time costs
// about a millisecond of processor time, and hosts with many routes change ten of them
// a second.
const answers = 200 * time.Millisecond

// busy tells whether the last read was only just now.
func (p *pace) busy(now time.Time) bool { return now.Sub(p.end) < answers }

// wait tells how long to wait before the next read.
func (p *pace) wait(now time.Time, debounce time.Duration) time.Duration {
	rest := 4*p.cost - now.Sub(p.end)
	if p.failures > 0 {
		rest = min(100*time.Millisecond<<min(p.failures-1, 10), 5*time.Second)
	}
	return max(debounce, rest)
}

func (p *pace) done(start, end time.Time, failed bool) {
	p.end, p.cost = end, end.Sub(start)
	if failed {
		p.failures++
	} else {
		p.failures = 0
	}
}
