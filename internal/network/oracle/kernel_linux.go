package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel asks the kernel about one network namespace. It is safe for concurrent use. As
// many questions can run at once as there are sockets.
type Kernel struct {
	idle   chan *socket // unused sockets
	tables chan *socket // the socket for dumps, while it is unused
	plain  chan chooser // the chooser, while it is unused; empty without IPv6
	all    int          // number of sockets that idle holds when none is in use
	closed chan struct{}
	epoch  atomic.Uint64

	mu        sync.Mutex
	objects   map[int][]Step // next-hop objects, as of an epoch
	objectsAt uint64
}

// ErrClosed means that a Kernel was asked after Close.
var ErrClosed = errors.New("the kernel is not asked any more")

const (
	// minSockets is the number of simultaneous questions on a small machine. The kernel
	// answers within the system call, so more sockets than processors are of no use,
	// apart from some for goroutines that were preempted.
	minSockets = 4
	// answerTime bounds the wait for an answer, which may have been lost.
	answerTime = time.Second
	// answerSize is enough for any answer: a route with 256 next hops is smaller.
	answerSize = 16 << 10
	// dumpSize is the most that the kernel puts into one part of a dump.
	dumpSize = 32 << 10
)

// Open opens the namespace with the given descriptor, or that of the calling thread if
// it is 0. The descriptor is not needed after the call.
func Open(namespace int) (*Kernel, error) {
	n := max(minSockets, 2*runtime.GOMAXPROCS(0))
	k := &Kernel{idle: make(chan *socket, n), tables: make(chan *socket, 1), plain: make(chan chooser, 1), closed: make(chan struct{})}
	err := inNamespace(namespace, func() error {
		for range n {
			s, err := openSocket(answerSize)
			if err != nil {
				return err
			}
			k.all++
			k.idle <- s
		}
		if fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			k.plain <- chooser{fd}
		}
		s, err := openSocket(dumpSize)
		if err == nil {
			_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
			k.tables <- s
		}
		return err
	})
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	// The kernel makes the parts of a dump as large as the largest buffer that the socket was
	// read with, and a page at first. A route that does not fit into a part ends the dump
	// without an error. So something short is read first.
	_ = k.Rules(false, func(*Rule) {})
	return k, nil
}

// inNamespace runs f in the namespace.
func inNamespace(namespace int, f func() error) error {
	if namespace == 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so that it ends with the goroutine: it now has
		// another namespace.
		runtime.LockOSThread()
		if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering the network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Close waits for the running questions and releases the sockets. Call it once. Later
// questions fail with ErrClosed.
func (k *Kernel) Close() {
	close(k.closed)
	for range k.all {
		s := <-k.idle
		_ = unix.Close(s.fd)
	}
	k.all = 0
	select {
	case s := <-k.tables: // missing if Open has failed
		_ = unix.Close(s.fd)
	default:
	}
	select {
	case c := <-k.plain:
		_ = unix.Close(c.fd)
	default:
	}
}

// Epoch returns a number that Void increases. An answer to a question of an earlier
// epoch may have become wrong.
func (k *Kernel) Epoch() uint64 { return k.epoch.Load() }

// Void notes that something about routing may have changed.
func (k *Kernel) Void() { k.epoch.Add(1) }

// Match asks which route the kernel takes. An error means that there is no answer. The
// answer may be that there is no route.
func (k *Kernel) Match(q Question) (Answer, error) {
	a, err := k.ask(&q, true)
	if errors.Is(err, unix.EMSGSIZE) {
		// The route has more next hops than the kernel's message holds (some 200). It still
		// says which one a packet takes.
		made, err := k.ask(&q, false)
		if err != nil || made.Verdict != Sent {
			return made, err
		}
		return Answer{Verdict: Sent, Hop: made.Hop}, nil
	}
	if err != nil {
		return a, err
	}
	if a.Verdict == NoRoute {
		// If all routes are for certain sources, the kernel finds no route for a
		// question without a source. But it does find a source for an unbound socket.
		if src := k.chosen(&q); src.IsValid() {
			q.Src = src
			if a, err = k.ask(&q, true); err != nil {
				return a, err
			}
		}
	}
	if a.Verdict == Sent && !a.Prefix.Contains(q.Dst.Unmap().WithZone("")) {
		// IPv6 routes by the same next-hop object share cached data, so the kernel may
		// show the route for which the data was made. The next hop is the same for all
		// of them.
		made, err := k.ask(&q, false)
		if err != nil || made.Verdict != Sent {
			return made, err
		}
		a.Hop, a.More, a.object, a.Prefix, a.Source = made.Hop, nil, 0, netip.Prefix{}, netip.Addr{}
	}
	if a.object != 0 {
		// With nexthop_compat_mode = 0 a route does not say what its next-hop object
		// contains.
		list, err := k.object(a.object)
		if err != nil {
			return a, err
		}
		a.lead(list)
		if a.Index == 0 {
			return Answer{}, nil
		}
	}
	a.bindTo(q.Device, q.Dst.Unmap().Is6())
	return a, nil
}

// chosen returns the source that the kernel gives to a socket without any binding. It
// is invalid if the question is about another socket.
func (k *Kernel) chosen(q *Question) netip.Addr {
	if q.Src.IsValid() || q.Device != 0 || q.Mark != 0 || q.User != nil || !q.Dst.Unmap().Is6() {
		return netip.Addr{}
	}
	select {
	case c := <-k.plain:
		defer func() { k.plain <- c }()
		return c.source(q.Dst)
	case <-k.closed:
	default: // there is no IPv6, or another goroutine has the chooser
	}
	return netip.Addr{}
}

// Source asks which source address the kernel gives to a socket that has none (RFC
// 6724), and which next hop it takes to this destination. Both are invalid if there is
// no route.
func (k *Kernel) Source(q Question) (netip.Addr, Hop, error) {
	a, err := k.ask(&q, false)
	if err != nil || a.Verdict != Sent && a.Verdict != Local {
		if a.Verdict == NoRoute && err == nil {
			return k.chosen(&q), Hop{}, nil
		}
		return netip.Addr{}, Hop{}, err
	}
	return a.Source, a.Hop, nil
}

func (k *Kernel) ask(q *Question, match bool) (Answer, error) {
	if !q.Dst.IsValid() || q.Src.IsValid() && q.Src.Unmap().Is4() != q.Dst.Unmap().Is4() {
		return Answer{}, fmt.Errorf("no question about %v from %v", q.Dst, q.Src)
	}
	var a Answer
	err := k.exchange(func(b []byte, seq uint32) []byte { return q.appendTo(b, seq, match) }, func(m *reply) (err error) {
		a, err = decode(m.body)
		return err
	})
	if err == nil {
		return a, nil
	}
	if v, ok := verdictOfError(err, q); ok {
		return Answer{Verdict: v}, nil
	}
	return Answer{}, fmt.Errorf("asking for the route to %v: %w", q.Dst, err)
}

// exchange sends a question and passes the answer to read.
func (k *Kernel) exchange(question func(b []byte, seq uint32) []byte, read func(*reply) error) error {
	var s *socket
	select {
	case s = <-k.idle:
	case <-k.closed:
		return ErrClosed
	}
	defer func() { k.idle <- s }()
	return s.exchange(question, read)
}

// socket belongs to one goroutine at a time.
type socket struct {
	fd  int
	seq uint32
	out []byte
	in  []byte
}

func openSocket(size int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(answerTime))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	// Errors should come without the question and without text, both of which older
	// kernels would send.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &socket{fd: fd, in: make([]byte, size)}, nil
}

// exchange sends a question and receives the answer. The kernel has put the answer into
// the socket by the time the question is sent.
func (s *socket) exchange(question func(b []byte, seq uint32) []byte, read func(*reply) error) error {
	s.seq++
	s.out = question(s.out[:0], s.seq)
	if _, err := unix.Write(s.fd, s.out); err != nil {
		return err
	}
	for {
		b, err := s.receive()
		if err != nil {
			return err
		}
		if found, err := answerIn(b, s.seq, read); found || err != nil {
			return err
		}
	}
}

// receive receives messages of the kernel. They are valid until the next call.
func (s *socket) receive() ([]byte, error) {
	for {
		n, from, err := unix.Recvfrom(s.fd, s.in, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("no answer: %v", err) //nolint:errorlint // its number would be taken for the kernel's answer
		}
		// Only the kernel has port 0. Other processes may send to this socket if they
		// are root.
		if sa, ok := from.(*unix.SockaddrNetlink); ok && sa.Pid == 0 {
			return s.in[:n], nil
		}
	}
}

// reply is a message of netlink(7).
type reply struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// next splits the first message off.
func next(b []byte) (m reply, rest []byte, err error) {
	if len(b) < headerLen {
		return m, nil, errMalformed
	}
	size := int(binary.NativeEndian.Uint32(b))
	if size < headerLen || size > len(b) {
		return m, nil, errMalformed
	}
	m = reply{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:]), b[headerLen:size]}
	return m, b[min(align(size), len(b)):], nil
}

// errno returns the error in an NLMSG_ERROR or NLMSG_DONE; 0: no error.
func (m *reply) errno() unix.Errno {
	if len(m.body) < 4 {
		return 0
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(m.body)))
}

// answerIn looks for the answer to question seq among the messages, and passes it to
// read.
func answerIn(b []byte, seq uint32, read func(*reply) error) (found bool, err error) {
	for len(b) > 0 {
		m, rest, err := next(b)
		if err != nil {
			return false, err
		}
		switch {
		case m.seq != seq:
		case m.kind == unix.NLMSG_ERROR:
			if errno := m.errno(); errno != 0 && errno < 4096 {
				return true, errno
			}
			return false, errMalformed // an acknowledgement, which was not asked for
		case m.kind == unix.RTM_NEWROUTE, m.kind == unix.RTM_NEWNEXTHOP, m.kind == unix.RTM_NEWNEIGH:
			err := read(&m)
			return err == nil, err
		}
		b = rest
	}
	return false, nil
}
