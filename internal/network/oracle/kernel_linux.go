package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel asks the kernel of one network namespace. It is safe for concurrent use:
// as many questions are under way at once as there are sockets.
type Kernel struct {
	idle   chan *socket // those that nobody uses
	all    []*socket
	closed chan struct{}
	epoch  atomic.Uint64
}

// ErrClosed means that a Kernel was asked after Close.
var ErrClosed = errors.New("the kernel is not asked any more")

const (
	// minSockets is how many questions can be under way at once on a small
	// machine. The kernel answers within the system call, so that more than there
	// are processors gain nothing but a place for those that were preempted.
	minSockets = 4
	// answerTime bounds the wait for an answer that was lost.
	answerTime = time.Second
	// answerSize takes any answer: a route with 256 next hops has less.
	answerSize = 16 << 10
)

// Open opens the namespace with the descriptor, 0 for that of the calling
// thread. The descriptor is not used after the call.
func Open(namespace int) (*Kernel, error) {
	n := max(minSockets, 2*runtime.GOMAXPROCS(0))
	k := &Kernel{idle: make(chan *socket, n), closed: make(chan struct{})}
	err := inNamespace(namespace, func() error {
		for range n {
			s, err := openSocket()
			if err != nil {
				return err
			}
			k.all = append(k.all, s)
			k.idle <- s
		}
		return nil
	})
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("opening rtnetlink: %w", err)
	}
	return k, nil
}

// inNamespace runs f in the namespace.
func inNamespace(namespace int, f func() error) error {
	if namespace == 0 {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		// Not unlocked: the thread, which has another namespace now, ends with the
		// goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering the network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Close waits for the questions under way, and releases the sockets. It is called
// once; questions asked after it fail with ErrClosed.
func (k *Kernel) Close() {
	close(k.closed)
	for range k.all {
		s := <-k.idle
		_ = unix.Close(s.fd)
	}
	k.all = nil
}

// Epoch is a number that Void raises. An answer that was asked for in an earlier
// epoch may have become wrong.
func (k *Kernel) Epoch() uint64 { return k.epoch.Load() }

// Void tells that something about routing may have changed.
func (k *Kernel) Void() { k.epoch.Add(1) }

// Match asks which route the kernel takes. An error means that there is no
// answer; that there is no route is an answer.
func (k *Kernel) Match(q Question) (Answer, error) {
	a, err := k.ask(&q, true)
	if err != nil {
		return a, err
	}
	a.bindTo(q.Device)
	if !a.object {
		return a, nil
	}
	// With nexthop_compat_mode = 0 a route does not say what its next-hop object
	// holds. What comes of it does.
	made, err := k.ask(&q, false)
	if err != nil {
		return a, err
	}
	if made.Verdict != Sent {
		return made, nil
	}
	a.Hop, a.object = made.Hop, false
	return a, nil
}

// Source asks which source address the kernel gives to a socket that has none
// (RFC 6724), and which next hop to this very destination it takes; invalid if
// there is none.
func (k *Kernel) Source(q Question) (netip.Addr, Hop, error) {
	a, err := k.ask(&q, false)
	if err != nil || a.Verdict != Sent && a.Verdict != Local {
		return netip.Addr{}, Hop{}, err
	}
	return a.Source, a.Hop, nil
}

func (k *Kernel) ask(q *Question, match bool) (Answer, error) {
	if !q.Dst.IsValid() || q.Src.IsValid() && q.Src.Unmap().Is4() != q.Dst.Unmap().Is4() {
		return Answer{}, fmt.Errorf("no question about %v from %v", q.Dst, q.Src)
	}
	var s *socket
	select {
	case s = <-k.idle:
	case <-k.closed:
		return Answer{}, ErrClosed
	}
	defer func() { k.idle <- s }()
	a, err := s.exchange(q, match)
	if err == nil {
		return a, nil
	}
	if v, ok := verdictOfError(err, q); ok {
		return Answer{Verdict: v}, nil
	}
	return Answer{}, fmt.Errorf("asking for the route to %v: %w", q.Dst, err)
}

// socket is used by one goroutine at a time.
type socket struct {
	fd  int
	seq uint32
	out []byte
	in  []byte
}

func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(answerTime))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	// Errors without the question and without text; older kernels give both.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &socket{fd: fd, in: make([]byte, answerSize)}, nil
}

// exchange sends a question and receives its answer. The kernel has put the answer
// into the socket when the question is sent.
func (s *socket) exchange(q *Question, match bool) (Answer, error) {
	s.seq++
	s.out = q.appendTo(s.out[:0], s.seq, match)
	if _, err := unix.Write(s.fd, s.out); err != nil {
		return Answer{}, err
	}
	for {
		n, from, err := unix.Recvfrom(s.fd, s.in, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return Answer{}, fmt.Errorf("no answer: %v", err) //nolint:errorlint // its number would be taken for the kernel's answer
		}
		// Only the kernel has port 0; others may send to us if they are root.
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue
		}
		if a, found, err := answerIn(s.in[:n], s.seq); found || err != nil {
			return a, err
		}
	}
}

// answerIn looks for the answer to the question seq among messages.
func answerIn(b []byte, seq uint32) (a Answer, found bool, err error) {
	for len(b) > 0 {
		if len(b) < headerLen {
			return a, false, errMalformed
		}
		size := int(binary.NativeEndian.Uint32(b))
		if size < headerLen || size > len(b) {
			return a, false, errMalformed
		}
		body := b[headerLen:size]
		if binary.NativeEndian.Uint32(b[8:]) == seq {
			switch binary.NativeEndian.Uint16(b[4:]) {
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return a, false, errMalformed
				}
				code := int32(binary.NativeEndian.Uint32(body))
				if code >= 0 {
					return a, false, errMalformed // there was no request for an acknowledgement
				}
				return a, true, unix.Errno(-code)
			case unix.RTM_NEWROUTE:
				a, err = decode(body)
				return a, err == nil, err
			}
		}
		b = b[min(align(size), len(b)):]
	}
	return a, false, nil
}
