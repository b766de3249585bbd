package placement

import (
	"container/heap"
	"net/netip"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/habits"
	"github.com/socket-intents/mamma/internal/sockdiag"
)

const (
	// maxMetered bounds the connections that are measured. Nothing is learnt about
	// others.
	maxMetered = 4096
	// A connection is looked at after meterFirst, and then whenever its age has grown
	// by a quarter, but at least every meterMost. So when it ends, the latest figures
	// are missing a fifth of its duration at most.
	meterFirst  = 10 * time.Millisecond
	meterGrowth = 4
	meterMost   = time.Minute
	// meterRest is the time between two passes. Many short connections would each wake
	// this process otherwise, and take a question of their own each.
	meterRest = 5 * time.Millisecond
)

// meter learns how much established connections carry and how long they last. It asks
// the kernel by address. A copy of the socket would tell as much, but would keep the
// connection open after the program has closed it.
type meter struct {
	// get asks the kernel about many at once. The answers are valid until it is called again.
	get func([]sockdiag.Query) []sockdiag.Answer

	mu    sync.Mutex
	list  metered
	wake  chan struct{} // receives when the next look has become due earlier
	ended bool
	due   []*carried // those that are being looked at
	ask   []sockdiag.Query
}

// carried is a connection that is being measured.
type carried struct {
	learner       *habits.Learner
	local, remote netip.AddrPort
	cookie        uint64
	begun, next   time.Time
	bytes         uint64
	ended         bool
}

// metered is ordered by the time of the next look.
type metered []*carried

func (m metered) Len() int           { return len(m) }
func (m metered) Less(i, j int) bool { return m[i].next.Before(m[j].next) }
func (m metered) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *metered) Push(x any)        { *m = append(*m, x.(*carried)) }
func (m *metered) Pop() any {
	old := *m
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*m = old[:len(old)-1]
	return last
}

// newMeter returns a meter that asks by sock_diag.
func newMeter() (*meter, error) {
	batch, err := sockdiag.NewBatch()
	if err != nil {
		return nil, err
	}
	return &meter{get: batch.Get, wake: make(chan struct{}, 1)}, nil
}

// add starts to measure a connection.
func (m *meter) add(c *carried) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || len(m.list) >= maxMetered {
		return
	}
	c.next = time.Now().Add(meterFirst)
	heap.Push(&m.list, c)
	if m.list[0] == c {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
}

// run looks at connections until done is closed.
func (m *meter) run(done <-chan struct{}) {
	timer := time.NewTimer(meterMost)
	defer timer.Stop()
	for {
		timer.Reset(max(meterRest, m.pass(time.Now())))
		select {
		case <-timer.C:
		case <-m.wake:
		case <-done:
			return
		}
	}
}

// pass looks at the connections that are due, and returns how long to wait for the next
// one.
func (m *meter) pass(now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due = m.due[:0]
	for len(m.list) > 0 && !m.list[0].next.After(now) {
		m.due = append(m.due, heap.Pop(&m.list).(*carried))
	}
	m.look(m.due, now)
	for _, c := range m.due {
		if !c.ended {
			c.next = now.Add(min(meterMost, max(meterFirst, now.Sub(c.begun)/meterGrowth)))
			heap.Push(&m.list, c)
		}
	}
	clear(m.due)
	if len(m.list) == 0 {
		return meterMost
	}
	return m.list[0].next.Sub(now)
}

// look asks about connections.
func (m *meter) look(list []*carried, now time.Time) {
	m.ask = m.ask[:0]
	for _, c := range list {
		m.ask = append(m.ask, sockdiag.Query{Local: c.local, Remote: c.remote, Cookie: c.cookie})
	}
	for i, a := range m.get(m.ask) {
		list[i].see(a, now)
	}
}

// see takes what the kernel says. The connection has ended if the program or both sides have
// closed it. If that was before the first look, nothing is learnt from it.
func (c *carried) see(a sockdiag.Answer, now time.Time) {
	s := a.Socket
	if a.Err == nil && s.Counted {
		c.bytes = s.Sent + s.Received
		if s.Inode != 0 && s.State != tcpClose {
			return
		}
	}
	c.ended = true
	if c.bytes > 0 {
		c.learner.See(destOf(c.remote), int64(min(c.bytes, 1<<62)), now.Sub(c.begun))
	}
}

// end looks at all connections once more, because their programs are gone.
func (m *meter) end(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.look(m.list, now)
	m.list = nil
}
