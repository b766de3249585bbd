package placement

import (
	"container/heap"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/internal/habits"
)

const (
	// maxFollowed bounds the copies of sockets that are kept. Further connections are
	// not reported.
	maxFollowed = 4096
	// patience is how long a connection is followed. Nearly all programs have given
	// up by then.
	patience = 30 * time.Second
	// synRetransmission is when the first SYN is sent again (RFC 6298 section 2.1).
	// A connection that ended without an answer after that has timed out.
	synRetransmission = time.Second

	// A connection is looked at after followFirst, and then whenever its age has grown by
	// a quarter, but at least every followMost. To be told by epoll(7) as soon as one is
	// ready would wake a thread for each connection, which costs more than all else that
	// is done for it. Many are looked at together instead. The program has closed none of
	// its connections by then, unless they are very short: the copy keeps them open.
	followFirst  = 2 * time.Millisecond
	followGrowth = 4
	followMost   = time.Second
)

// follower finds out the results of connections from copies of their sockets, and
// reports them to the manager. It takes nothing from a socket that the program would
// miss. For instance it does not read SO_ERROR, because reading clears it.
type follower struct {
	most  int
	meter *meter // measures what connections carry; nil: nothing is learnt

	tracer *tracer       // stops programs while their sockets are moved; nil: none is moved
	races  chan struct{} // an element for each race that runs
	copies closer
	wake   chan struct{} // receives when the next look has become due earlier

	mu     sync.Mutex
	under  map[int]*attempt // by descriptor of the copy, which the follower owns
	due    attempts         // the same
	rests  time.Time        // until when nothing is looked at
	latest time.Time        // when the latest one was added
}

// attempt is a connection under way.
type attempt struct {
	fd        int
	decision  *client.Decision
	candidate client.Candidate // of the decision, which the socket is bound to
	begun     time.Time
	called    time.Time // when the program's call began, of a socket that was moved since; else zero
	dest      netip.AddrPort
	cookie    uint64
	bound     bool // the socket has had a port before connecting, so a port proves nothing
	// multipath tells that the socket is one of Multipath TCP.
	multipath bool
	learner   *habits.Learner // nil: nothing is learnt
	last      atomic.Bool     // nobody will look again
	over      bool            // when the result became known, the connection had ended

	source  netip.Addr        // that it was bound to; invalid: none
	offered []client.Endpoint // by the manager
	v6      bool              // it is a socket of IPv6
	theirs  waiter
	say     func(what string) // tells a person of it, and does not wait; nil: nobody wants to know

	// The rest is guarded by follower.mu.
	next   time.Time // when it is looked at again
	at     int       // its place in follower.due
	raced  bool      // the race has begun
	cancel func()    // ends the race; nil: none runs
	moving bool      // the socket is being moved, and must not be looked at
}

// attempts is ordered by the time of the next look.
type attempts []*attempt

func (l attempts) Len() int           { return len(l) }
func (l attempts) Less(i, j int) bool { return l[i].next.Before(l[j].next) }
func (l attempts) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].at, l[j].at = i, j
}
func (l *attempts) Push(x any) {
	a := x.(*attempt)
	a.at = len(*l)
	*l = append(*l, a)
}
func (l *attempts) Pop() any {
	old := *l
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return last
}

// newFollower returns a follower. Its method run has to be called.
func newFollower() *follower {
	f := &follower{
		most: maxFollowed, under: map[int]*attempt{}, wake: make(chan struct{}, 1),
		races: make(chan struct{}, maxRaces), copies: newCloser(),
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		f.most = int(min(maxFollowed, limit.Cur/2))
	}
	return f
}

// add follows a connection that is about to be made. If it returns true, the descriptor
// belongs to the follower.
func (f *follower) add(a *attempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.under) >= f.most {
		return false
	}
	a.begun = time.Now()
	f.latest = a.begun
	f.under[a.fd] = a
	heap.Push(&f.due, a)
	f.soonLocked(a)
	return true
}

// soonLocked makes the follower look at a connection after followFirst.
func (f *follower) soonLocked(a *attempt) {
	a.next = a.begun.Add(followFirst)
	heap.Fix(&f.due, a.at)
	if f.rests.Sub(a.next) > followFirst {
		f.rests = a.next
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// run looks at connections until done is closed.
func (f *follower) run(done <-chan struct{}) {
	timer := time.NewTimer(followMost)
	defer timer.Stop()
	for {
		timer.Reset(f.pass(time.Now()))
		select {
		case <-timer.C:
		case <-f.wake:
		case <-done:
			return
		}
	}
}

// pass looks at the connections that are due, and returns how long to rest.
func (f *follower) pass(now time.Time) time.Duration {
	for {
		a, rest := f.nextDue(now)
		if a == nil {
			return rest
		}
		f.look(a, now)
	}
}

// nextDue returns a connection that is due, and determines when it is looked at again. If
// there is none, it returns how long to rest.
func (f *follower) nextDue(now time.Time) (*attempt, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.due) > 0 && !f.due[0].next.After(now) {
		a := f.due[0]
		age := now.Sub(a.begun)
		a.next = now.Add(max(followFirst, min(followMost, age/followGrowth)))
		if race := a.begun.Add(raceDelay); age < raceDelay && a.next.After(race) {
			a.next = race
		}
		heap.Fix(&f.due, 0)
		return a, 0
	}
	// Where connections are made one after the other, the next one need not wake this
	// process.
	rest := patience
	if now.Sub(f.latest) < restless*followFirst {
		rest = followFirst
	}
	if len(f.due) > 0 {
		rest = min(rest, max(followFirst, f.due[0].next.Sub(now)))
	}
	f.rests = now.Add(rest)
	return nil, rest
}

// restless is for how many times followFirst after a connection another one is expected.
const restless = 10

// look looks at one connection, and stops following it if its result is known.
func (f *follower) look(a *attempt, now time.Time) {
	f.mu.Lock()
	leave := f.under[a.fd] != a || a.moving
	f.mu.Unlock()
	if leave {
		return
	}
	o, result := a.outcome(now)
	if result == pending {
		f.mayRace(a, now)
		return
	}
	if !f.drop(a) {
		return // another goroutine has looked, too, or the socket has been moved
	}
	// A connection that was left to the kernel from the beginning says nothing of the
	// networks that the manager prefers to that.
	if result == known && a.candidate != client.PlainDial {
		a.decision.Report(o)
	}
	if result == known && o.Err == nil {
		f.measure(a, o.Local)
	}
}

// mayRace begins the race for a connection that has had no answer for a while.
func (f *follower) mayRace(a *attempt, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !a.raced && len(a.offered) > 1 && now.Sub(a.begun) >= raceDelay {
		a.raced = true
		go f.race(a)
	}
}

// measure makes the meter measure an established connection. MPTCP connections are left
// out, because the kernel counts by subflow.
func (f *follower) measure(a *attempt, local netip.AddrPort) {
	if f.meter == nil || a.learner == nil || a.multipath || a.over {
		return
	}
	f.meter.add(&carried{learner: a.learner, local: local, remote: a.dest, cookie: a.cookie, begun: a.begun})
}

// end looks at all connections for the last time, and reports those whose outcome is
// known. One that has sent its SYN again is known to have timed out: with the program, the
// connect that waited for an answer has ended.
func (f *follower) end(now time.Time) {
	f.mu.Lock()
	left := slices.Collect(maps.Values(f.under))
	f.mu.Unlock()
	for _, a := range left {
		a.last.Store(true)
		f.look(a, now)
	}
}

// drop forgets an attempt, and closes its copy. It returns false if that was done before.
func (f *follower) drop(a *attempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[a.fd] != a {
		return false
	}
	delete(f.under, a.fd)
	heap.Remove(&f.due, a.at)
	if a.cancel != nil {
		a.cancel()
	}
	f.copies.close(a.fd)
	return true
}

// maxLingering bounds the copies that wait to be closed. Each takes a thread.
const maxLingering = 16

// closer closes copies of programs' sockets. It holds an element for each copy that waits to be
// closed. The zero value lets none wait.
type closer chan struct{}

func newCloser() closer { return make(closer, maxLingering) }

// close closes a copy. If the program has closed its own already and wants to linger
// (SO_LINGER), close(2) waits until the peer has everything, which may be for ever. Nothing else
// may wait for that. Where too many wait already, the socket no longer lingers; the kernel still
// sends what is left.
func (c closer) close(fd int) {
	l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	if err == nil && l.Onoff != 0 && l.Linger > 0 {
		select {
		case c <- struct{}{}:
			go func() {
				_ = unix.Close(fd)
				<-c
			}()
			return
		default:
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
		}
	}
	_ = unix.Close(fd)
}

type result int

const (
	pending result = iota
	known
	nothing // over, with nothing to report
)

// outcome returns the result of the attempt.
func (a *attempt) outcome(now time.Time) (o client.Outcome, r result) {
	took := now.Sub(a.begun)
	var info unix.TCPInfo
	if tcpInfo(a.fd, &info) != nil {
		return o, nothing
	}
	var before netip.AddrPort
	if info.State == tcpClose && !connected(&info) {
		// Has connecting ended, or not begun? A port shows that it had begun before
		// the state that is read next.
		var err error
		if _, before, err = localName(a.fd); err != nil {
			return o, nothing
		}
		if tcpInfo(a.fd, &info) != nil {
			return o, nothing
		}
	}
	a.over = info.State == tcpClose
	// The address is the connection's only if it is read last.
	_, local, err := localName(a.fd)
	if err != nil {
		return o, nothing
	}
	s := seen{
		begun: before.Port() != 0 && !a.bound, state: info.State, answered: info.Segs_in > 0,
		connected: connected(&info), last: a.last.Load(),
	}
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	o, r = judge(s, took, local, func() bool { return a.multipath && becamePlain(a.fd) })
	o.Candidate = a.candidate
	switch rtt := time.Duration(info.Rtt) * time.Microsecond; {
	case o.Err != nil:
	case !a.called.IsZero():
		o.Duration = now.Sub(a.called) // of the whole connect, as after a dial
	case info.Total_retrans == 0 && rtt > 0:
		o.Duration = min(took, rtt) // the look came later than the answer to the SYN
	}
	return o, r
}

// connected tells whether a socket is or was connected. A peer that accepts the
// connection acknowledges the SYN, which counts as a byte. A peer that refuses does not.
func connected(info *unix.TCPInfo) bool { return info.Bytes_acked > 0 || info.Bytes_received > 0 }

// seen is what the kernel says about a socket.
type seen struct {
	begun     bool // it had a port, which it gets and keeps when it connects
	state     uint8
	answered  bool // the peer has sent something
	connected bool // it was connected, and may be closed by now
	last      bool // nobody will look again
}

// judge derives the outcome from what was seen.
func judge(s seen, took time.Duration, local netip.AddrPort, plain func() bool) (o client.Outcome, r result) {
	o = client.Outcome{Duration: took, Local: local}
	switch {
	case s.state == tcpSynSent && took <= patience && (!s.last || took < synRetransmission):
		return o, pending
	case s.state == tcpSynSent:
		o.Err = unix.ETIMEDOUT
	case s.state != tcpClose, s.connected: // a quick program may have closed it before we look
		o.PlainTCP = plain()
	case s.answered:
		o.Err = unix.ECONNREFUSED
	case !s.begun && took <= patience:
		return o, pending
	case !s.begun:
		return o, nothing
	case took >= synRetransmission:
		o.Err = unix.ETIMEDOUT
	default:
		// Either the connection was refused or the destination was out of reach, and
		// nothing tells which. After a blocking connect(2) the kernel has forgotten the
		// cause, and it does not count ICMP errors.
		return o, nothing
	}
	return o, known
}

func localOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// becamePlain tells whether an MPTCP socket has fallen back to TCP. The kernel then has
// no MPTCP_INFO of it (linux/mptcp.h).
func becamePlain(fd int) bool {
	const mptcpInfo = 1
	_, err := unix.GetsockoptInt(fd, unix.SOL_MPTCP, mptcpInfo)
	return err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT //nolint:errorlint // system calls give no other kind
}
