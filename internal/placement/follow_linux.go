package placement

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
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
)

// follower finds out the results of connections from copies of their sockets, and
// reports them to the manager. It takes nothing from a socket that the program would
// miss. For instance it does not read SO_ERROR, because reading clears it.
type follower struct {
	epoll int
	most  int
	meter *meter // measures what connections carry; nil: nothing is learnt

	tracer *tracer       // stops programs while their sockets are moved; nil: none is moved
	races  chan struct{} // an element for each race that runs

	mu    sync.Mutex
	under map[int]*attempt // by descriptor of the copy, which the follower owns
}

// attempt is a connection under way.
type attempt struct {
	fd       int
	decision *client.Decision
	begun    time.Time
	dest     netip.AddrPort
	cookie   uint64
	bound    bool // the socket has had a port before connecting, so a port proves nothing
	// multipath tells that the socket is one of Multipath TCP.
	multipath bool
	learner   *habits.Learner // nil: nothing is learnt
	last      atomic.Bool     // nobody will look again
	over      bool            // when the result became known, the connection had ended

	source  netip.Addr        // that it was bound to; invalid: none
	offered []client.Endpoint // by the manager
	v6      bool              // it is a socket of IPv6
	theirs  waiter
	say     func(what string) // tells a person of it; nil: nobody wants to know
	timer   *time.Timer       // starts the race; nil: there will be none
	cancel  func()            // ends the race; nil: none runs
	moves   atomic.Bool       // to another network than the decision's first
}

func newFollower() (*follower, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("follow connections: %w", os.NewSyscallError("epoll_create1", err))
	}
	f := &follower{epoll: epoll, most: maxFollowed, under: map[int]*attempt{}, races: make(chan struct{}, maxRaces)}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		f.most = int(min(maxFollowed, limit.Cur/2))
	}
	go f.run()
	return f, nil
}

// add follows a connection that is about to be made. If it returns true, the descriptor
// belongs to the follower. The caller calls watch when the program's call goes on.
func (f *follower) add(a *attempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.under) >= f.most {
		return false
	}
	a.begun = time.Now()
	f.under[a.fd] = a
	return true
}

// watch begins to wait for the result of an attempt. A socket that is not connecting yet
// counts as hung up, so before the call the kernel would report that, and take the
// processor from the program.
func (f *follower) watch(a *attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[a.fd] != a {
		return // it is over already
	}
	// The trigger is by edges, for the same reason.
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&(1<<32-1), Fd: int32(a.fd)}
	if unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, a.fd, &ev) != nil {
		f.dropLocked(a)
		return
	}
	if len(a.offered) > 1 {
		a.timer = time.AfterFunc(raceDelay, func() { f.race(a) })
	}
}

func (f *follower) run() {
	events := make([]unix.EpollEvent, 64)
	swept := time.Now()
	for {
		// The time limit is for connections on which nothing happens.
		n, err := unix.EpollWait(f.epoll, events, int(time.Second/time.Millisecond))
		if err != nil {
			n = 0 // after EINTR
		}
		now := time.Now()
		for _, e := range events[:n] {
			f.look(int(e.Fd), now)
		}
		if now.Sub(swept) >= time.Second {
			swept = now
			f.sweep(now)
		}
	}
}

// look looks at one connection, and stops following it if its result is known.
func (f *follower) look(fd int, now time.Time) {
	f.mu.Lock()
	a := f.under[fd]
	f.mu.Unlock()
	if a == nil {
		return
	}
	switch o, result := a.outcome(now); result {
	case pending:
	default:
		if !f.drop(a) {
			return // another goroutine has looked, too
		}
		if result == known && !a.moves.Load() { // else it was told that the other network answers
			a.decision.Report(o)
		}
		if result == known && o.Err == nil {
			f.measure(a, o.Local)
		}
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
	left := slices.Collect(maps.Keys(f.under))
	for _, a := range f.under {
		a.last.Store(true)
	}
	f.mu.Unlock()
	for _, fd := range left {
		f.look(fd, now)
	}
}

// drop forgets an attempt, and closes its copy. It returns false if that was done before.
func (f *follower) drop(a *attempt) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropLocked(a)
}

// dropLocked is drop with the lock held. While the program has the socket open, closing
// the copy does not end what was asked of epoll(7). Events would still come, and a later
// copy of the socket with the same number could not be watched.
func (f *follower) dropLocked(a *attempt) bool {
	if f.under[a.fd] != a {
		return false
	}
	delete(f.under, a.fd)
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel()
	}
	_ = unix.EpollCtl(f.epoll, unix.EPOLL_CTL_DEL, a.fd, nil) // an error: it was not watched yet
	_ = unix.Close(a.fd)
	return true
}

func (f *follower) sweep(now time.Time) {
	f.mu.Lock()
	var old []int
	for fd, a := range f.under {
		if now.Sub(a.begun) > patience {
			old = append(old, fd)
		}
	}
	f.mu.Unlock()
	for _, fd := range old {
		f.look(fd, now)
	}
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
	info, err := unix.GetsockoptTCPInfo(a.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return o, nothing
	}
	var before netip.AddrPort
	if info.State == tcpClose && !connected(info) {
		// Has connecting ended, or not begun? A port shows that it had begun before
		// the state that is read next.
		if _, before, err = localName(a.fd); err != nil {
			return o, nothing
		}
		if info, err = unix.GetsockoptTCPInfo(a.fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
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
		connected: connected(info), last: a.last.Load(),
	}
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	return judge(s, took, local, func() bool { return a.multipath && becamePlain(a.fd) })
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
