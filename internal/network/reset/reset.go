// Package reset ends the TCP connections of networks that are down, so that their programs
// hear of it at once and connect anew over another network. Without that they wait until
// the kernel gives up, which takes some 15 minutes while data is under way, and two hours
// or for ever while it is not.
//
// A connection is ended only if nothing speaks for it. These are left alone: connections
// that have heard from their peer since the network went down, until they have been silent
// for a while; those to this host; those to neighbours while the link works; and subflows
// of Multipath TCP. The latter move by themselves. If such a subflow is the only one, the
// program would not be told.
package reset

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/socket-intents/mamma/internal/sockdiag"
	"github.com/socket-intents/mamma/policy"
)

const (
	// settle is how long a network must be down before its connections are ended. A link
	// that is back within a second, as after roaming between access points, loses nothing.
	settle = time.Second
	// most is how many connections are ended at a time, and pause the time between. So the
	// programs of a busy host do not all connect anew in the same moment.
	most  = 256
	pause = time.Second
	// again is the least time between ends of connections of one network in two losses of
	// it. On a network that comes and goes, programs would do nothing but begin anew. After
	// an error of the kernel it is tried again that much later.
	again = 30 * time.Second
	// gone is how long a network is remembered after it has left the host.
	gone = 2 * time.Minute
	// relook is how long after its last sign of life a connection is looked at again, if it
	// was spared because of that. By then it has fallen silent, if the network is down for
	// it, too.
	relook = 30 * time.Second
)

// Network is what has to be known of a network.
type Network struct {
	ID    policy.PrefixID
	Index int // of the interface
	Addrs []netip.Addr
	// Reset tells that connections are to be ended while the network is down.
	Reset bool
	Down  bool // it does not work
	// Carrier tells that the link works, so that neighbours may still be reached.
	Carrier bool
	// Far tells that it leads beyond its link.
	Far bool
}

// Kernel lists and ends connections. A *sockdiag.Conn is one.
type Kernel interface {
	Able() error
	Established(local []netip.Addr) ([]sockdiag.Established, error)
	Destroy(sockdiag.Established) error
}

// Resetter ends connections. Run does the work. All methods are safe for concurrent use,
// and all but Run return at once.
type Resetter struct {
	open  func() (Kernel, func(), error)
	log   *slog.Logger
	poke  chan struct{} // one slot
	ended atomic.Uint64

	mu       sync.Mutex
	networks []Network
	local    func(netip.Addr) bool

	// Only Run uses the fields below.
	watched map[policy.PrefixID]*watch
	kernel  Kernel
}

// watch is a network whose connections are ended while it is down.
type watch struct {
	Network
	down time.Time // since when; zero: it works
	left time.Time // when it left the host; zero: it is there
	done bool      // nothing is left that could be ended since down, or since the link failed
	next time.Time // before which nothing is ended
	last time.Time // when a connection of it was last ended
	sum  int       // how many since then
	told int       // how many of them the log has told
}

// New makes a Resetter. open opens the kernel's interface when a network first needs it,
// and returns how to close it; nil: that of this host.
func New(open func() (Kernel, func(), error), log *slog.Logger) *Resetter {
	if open == nil {
		open = func() (Kernel, func(), error) {
			c, err := sockdiag.Dial()
			if err != nil {
				return nil, nil, err
			}
			return c, func() { _ = c.Close() }, nil
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Resetter{open: open, log: log, poke: make(chan struct{}, 1), watched: map[policy.PrefixID]*watch{}}
}

// Ended returns how many connections were ended since the start.
func (r *Resetter) Ended() uint64 { return r.ended.Load() }

// Networks tells the present state of all networks. local tells whether an address is this
// host's. The caller must change neither afterwards.
func (r *Resetter) Networks(list []Network, local func(netip.Addr) bool) {
	r.mu.Lock()
	changed := !slices.EqualFunc(r.networks, list, same)
	r.networks, r.local = list, local
	r.mu.Unlock()
	if !changed {
		return
	}
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

func same(a, b Network) bool {
	return a.ID == b.ID && a.Index == b.Index && a.Reset == b.Reset && a.Down == b.Down && a.Carrier == b.Carrier && a.Far == b.Far && slices.Equal(a.Addrs, b.Addrs)
}

// Run ends connections until ctx ends. Failures are logged. The result is always nil.
func (r *Resetter) Run(ctx context.Context) error {
	var closeKernel func()
	defer func() {
		if closeKernel != nil {
			closeKernel()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.poke:
		}
		r.mu.Lock()
		list, local := r.networks, r.local
		r.mu.Unlock()
		if closeKernel == nil && slices.ContainsFunc(list, func(n Network) bool { return n.Reset }) {
			closeKernel = r.begin()
		}
		timer.Stop()
		if wait, ok := r.step(time.Now(), list, local); ok {
			timer.Reset(wait)
		}
	}
}

// begin opens the kernel's interface. If connections cannot be ended, it says so once.
func (r *Resetter) begin() (closeKernel func()) {
	k, closeKernel, err := r.open()
	if err == nil {
		err = k.Able()
	} else {
		closeKernel = func() {}
	}
	if err != nil {
		r.log.Error(`connections of networks that are down are not ended (on_down = "reset") before mamma is started again`, "err", err)
		return closeKernel
	}
	r.kernel = k
	return closeKernel
}

// step ends what is to be ended now. It returns after what time there is more to do, and
// false if there is nothing before the networks change.
func (r *Resetter) step(now time.Time, list []Network, local func(netip.Addr) bool) (wait time.Duration, ok bool) {
	r.follow(now, list, local)
	if r.kernel == nil {
		return 0, false
	}
	for _, w := range r.watched {
		if w.down.IsZero() || w.done || !elsewhere(w, list) {
			continue
		}
		if !now.Before(w.next) {
			r.end(now, w, list, local)
		}
		if left := w.next.Sub(now); !w.done && (!ok || left < wait) {
			wait, ok = left, true
		}
	}
	return wait, ok
}

// follow takes over the present state.
func (r *Resetter) follow(now time.Time, list []Network, local func(netip.Addr) bool) {
	present := map[policy.PrefixID]bool{}
	for _, n := range list {
		if !n.Reset {
			continue
		}
		present[n.ID] = true
		w := r.watched[n.ID]
		if w == nil {
			w = &watch{}
			r.watched[n.ID] = w
		}
		w.unlink(now, n.Carrier)
		w.Network, w.left = n, time.Time{}
		w.set(now, n.Down)
	}
	for id, w := range r.watched {
		if present[id] {
			continue
		}
		if w.left.IsZero() {
			w.left = now
		}
		// A network that the configuration no longer names is still there.
		if slices.ContainsFunc(w.Addrs, func(a netip.Addr) bool { return local != nil && local(a) }) || now.Sub(w.left) > gone {
			delete(r.watched, id)
			continue
		}
		w.unlink(now, false)
		w.Carrier = false
		w.set(now, true)
	}
}

// set notes whether the network is down.
func (w *watch) set(now time.Time, down bool) {
	switch {
	case !down:
		w.down = time.Time{}
	case w.down.IsZero():
		w.down = now
		w.begin(now)
	}
}

// unlink begins again if the link of a network that is down fails later than the network.
// Until then its neighbours were left alone.
func (w *watch) unlink(now time.Time, carrier bool) {
	if w.done && w.Carrier && !carrier {
		w.begin(now)
	}
}

// begin has connections ended from the time on at which that is permitted.
func (w *watch) begin(now time.Time) {
	w.done, w.sum, w.told, w.next = false, 0, 0, now.Add(settle)
	if !w.last.IsZero() && w.next.Before(w.last.Add(again)) {
		w.next = w.last.Add(again)
	}
}

// elsewhere tells whether programs could connect over another network.
func elsewhere(w *watch, list []Network) bool {
	return slices.ContainsFunc(list, func(n Network) bool { return n.ID != w.ID && n.Far && !n.Down })
}

// end ends some connections of a network that is down.
func (r *Resetter) end(now time.Time, w *watch, list []Network, local func(netip.Addr) bool) {
	w.next = now.Add(pause)
	found, err := r.kernel.Established(w.Addrs)
	if err != nil {
		r.log.Warn("connections of a network that is down are not ended; trying again", "prefix", w.ID.Prefix, "iface", w.ID.Interface, "after", again, "err", err)
		w.next = now.Add(again)
		return
	}
	ended, more, alive := 0, false, false
	for i := range found {
		c := &found[i]
		if w.spares(c, list, local) {
			continue
		}
		if c.Heard >= 0 && c.Heard < min(now.Sub(w.down), relook) {
			alive = true
			continue
		}
		if ended == most {
			more = true
			break
		}
		if err := r.kernel.Destroy(*c); errors.Is(err, sockdiag.ErrNotFound) {
			continue // it has ended by itself
		} else if err != nil {
			r.log.Warn("a connection of a network that is down is not ended; trying again", "prefix", w.ID.Prefix, "iface", w.ID.Interface, "after", again, "err", err)
			w.next, more = now.Add(again), true
			break // the next one would fail for the same reason
		}
		ended++
	}
	r.ended.Add(uint64(ended))
	if w.sum += ended; ended > 0 {
		w.last = now
	}
	if !more && w.sum > w.told {
		r.log.Info("ended connections of a network that is down", "prefix", w.ID.Prefix, "iface", w.ID.Interface, "connections", w.sum-w.told)
		w.told = w.sum
	}
	if w.done = !more && !alive; !more && alive {
		w.next = now.Add(relook)
	}
}

// spares tells whether a connection is left alone whenever it was last heard from.
func (w *watch) spares(c *sockdiag.Established, list []Network, local func(netip.Addr) bool) bool {
	to := c.Remote.Addr()
	switch {
	case c.Multipath || to.IsLoopback() || local != nil && local(to):
		return true
	case c.Device != 0:
		if int(c.Device) != w.Index {
			return true
		}
	case slices.ContainsFunc(list, func(n Network) bool { return n.ID != w.ID && slices.Contains(n.Addrs, c.Local.Addr()) }):
		return true // the address alone does not tell the network
	}
	neighbour := w.ID.Prefix.Contains(to) || to.IsLinkLocalUnicast()
	return neighbour && w.Carrier
}
