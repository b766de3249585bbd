package netmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Options of a Monitor. The zero value watches the namespace of the caller.
type Options struct {
	// Namespace is the descriptor of the network namespace to watch. It is used
	// by New only. Zero: that of the calling thread.
	Namespace int
	// Debounce is how long to wait after an event for more. Zero: 20 ms, a few
	// times what a network manager needs to set an interface up; a link that
	// goes down is known within 50 ms all the same.
	Debounce time.Duration
	// ReceiveBuffer is the size in bytes of the socket buffer for events. Zero:
	// 1 MiB, capped by net.core.rmem_max. Overruns do no harm, see Run.
	ReceiveBuffer int
	// Kind replaces the kind of a link, the kernel's Link.Type, where that matters
	// and the kernel at hand cannot make such a link: for tests with stand-ins. It
	// must be safe for concurrent use. Nil: the kernel's kinds.
	Kind func(name, kernel string) string
}

// Monitor keeps a Snapshot current. Its methods may be called from several
// goroutines at once.
type Monitor struct {
	debounce time.Duration
	kind     func(name, kernel string) string
	log      *slog.Logger
	handle   *netlink.Handle
	events   *nl.NetlinkSocket
	poke     chan struct{} // one slot: the state is to be read again
	current  atomic.Pointer[Snapshot]
	closing  sync.Once

	mu          sync.Mutex
	subscribers map[chan struct{}]bool
}

// groups are the events that lead to a new snapshot.
var groups = []uint{
	unix.RTNLGRP_LINK,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
}

// New makes a monitor and reads the first snapshot. The caller must call Run or
// Close.
func New(options Options, log *slog.Logger) (*Monitor, error) {
	m := &Monitor{
		debounce: options.Debounce, kind: options.Kind, log: log,
		poke: make(chan struct{}, 1), subscribers: map[chan struct{}]bool{},
	}
	if m.debounce == 0 {
		m.debounce = 20 * time.Millisecond
	}
	ns := netns.None()
	if options.Namespace != 0 {
		ns = netns.NsHandle(options.Namespace)
	}
	// Subscribe before reading, so that no change falls between the two.
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
	if m.handle, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		m.events.Close()
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	// The kernel answers at once; a lost answer must not stop the monitor.
	if err := m.handle.SetSocketTimeout(2 * time.Second); err != nil {
		m.Close()
		return nil, fmt.Errorf("setting the rtnetlink timeout: %w", err)
	}
	s, again, err := read(m.handle, m.kind)
	if err != nil {
		m.Close()
		return nil, err
	}
	m.current.Store(s)
	if again {
		m.wake()
	}
	return m, nil
}

// Close releases what New acquired, for monitors that are not run: Run does so
// when it ends.
func (m *Monitor) Close() {
	m.closing.Do(func() {
		m.events.Close()
		if m.handle != nil {
			m.handle.Close()
		}
	})
}

// Snapshot returns the latest state, never nil. It does not block.
func (m *Monitor) Snapshot() *Snapshot { return m.current.Load() }

// Subscribe returns a channel that holds one value whenever the snapshot was
// replaced since the last receive. Cancel ends it; the channel is not closed.
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

// Run keeps the snapshot current until ctx is done, and then returns nil, or
// until events cannot be received any more. It is called once.
//
// Events are hints only: after each, the whole state is read again. So an
// overrun of the socket's buffer is an event like others.
func (m *Monitor) Run(ctx context.Context) error {
	defer m.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	// Before the wait: closing the socket ends the listener.
	defer m.events.Close()
	wg.Go(func() { cancel(m.listen(ctx)) })

	var pace pace
	for {
		select {
		case <-ctx.Done():
			return runError(ctx)
		case <-m.poke:
		}
		timer := time.NewTimer(pace.wait(time.Now(), m.debounce))
		select {
		case <-ctx.Done():
			timer.Stop()
			return runError(ctx)
		case <-timer.C:
		}
		select {
		case <-m.poke: // what it announces is about to be read
		default:
		}
		start := time.Now()
		again, err := m.update()
		pace.done(start, time.Now(), err != nil)
		if err != nil {
			m.log.WarnContext(ctx, "networks not read; trying again", "err", err)
		}
		if again || err != nil {
			m.wake()
		}
	}
}

// runError is nil if the caller ended Run.
func runError(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// listen receives events until the socket is closed.
func (m *Monitor) listen(ctx context.Context) error {
	for {
		_, _, err := m.events.Receive()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			m.log.DebugContext(ctx, "network events lost; reading all anew")
		case errors.Is(err, unix.EINTR):
			continue
		default:
			return fmt.Errorf("receiving rtnetlink events: %w", err)
		}
		m.wake()
	}
}

func (m *Monitor) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// update reads the state and publishes it if it changed.
func (m *Monitor) update() (again bool, err error) {
	s, again, err := read(m.handle, m.kind)
	if err != nil {
		return false, err
	}
	if s.Equal(m.current.Load()) {
		return again, nil
	}
	m.current.Store(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.subscribers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return again, nil
}

// pace keeps reading from taking more than a fifth of a core on hosts with
// very many routes, and spaces tries that failed.
type pace struct {
	end      time.Time
	cost     time.Duration
	failures int
}

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
