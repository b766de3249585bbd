package placement

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

func TestJudge(t *testing.T) {
	bound, free := netip.MustParseAddrPort("192.0.2.7:40000"), netip.MustParseAddrPort("192.0.2.7:0")
	for _, tt := range []struct {
		name     string
		state    uint8
		took     time.Duration
		answered bool

		connected bool
		local     netip.AddrPort
		plain     bool
		result    result
		err       error
	}{
		{"not begun", tcpClose, time.Millisecond, false, false, free, false, pending, nil},
		{"never begun", tcpClose, patience + 1, false, false, free, false, nothing, nil},
		{"connecting", tcpSynSent, time.Millisecond, false, false, bound, false, pending, nil},
		{"connecting for ever", tcpSynSent, patience + 1, false, false, bound, false, known, unix.ETIMEDOUT},
		{"connected", tcpEstablished, time.Millisecond, true, true, bound, false, known, nil},
		{"connected, plainly", tcpEstablished, time.Millisecond, true, true, bound, true, known, nil},
		{"connected, and the peer has closed already", 8, time.Millisecond, true, true, bound, false, known, nil},
		{"refused", tcpClose, time.Millisecond, true, false, bound, false, known, unix.ECONNREFUSED},
		{"served, and closed by the program already", tcpClose, time.Millisecond, true, true, bound, false, known, nil},
		{"timed out", tcpClose, 7 * time.Second, false, false, bound, false, known, unix.ETIMEDOUT},
		{"refused or out of reach", tcpClose, time.Millisecond, false, false, bound, false, nothing, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, r := judge(seen{begun: tt.local.Port() != 0, state: tt.state, answered: tt.answered, connected: tt.connected}, tt.took, tt.local, func() bool { return tt.plain })
			if r != tt.result || r == known && (o.Err != tt.err || o.PlainTCP != tt.plain || o.Duration != tt.took || o.Local != tt.local) { //nolint:errorlint // these very errors
				t.Errorf("%v, %+v", r, o)
			}
		})
	}
}

// A look at a socket may come at any moment while the socket connects. It shows either that
// nothing has begun or how it ended. (For a blocking socket, the kernel forgets the result
// as soon as connect returns.)
func TestOutcomeWhileConnecting(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		o, r := lookWhileConnecting(t, closed)
		if r != known || o.Err != unix.ECONNREFUSED { //nolint:errorlint // as it is made
			t.Fatalf("result %v, %v; want that it was refused", r, o.Err)
		}
	}
}

// A report on a connection names the address and the port that the connection really has,
// whenever the look comes.
func TestOutcomeNamesWhatWasTaken(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	open := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	for range 1000 {
		o, r := lookWhileConnecting(t, open)
		if r != known || o.Err != nil || o.Local.Port() == 0 || !o.Local.Addr().IsLoopback() {
			t.Fatalf("result %v, from %v, %v; want that it was connected from 127.0.0.1 and a port", r, o.Local, o.Err)
		}
	}
}

// lookWhileConnecting looks at a new socket while it connects, until the outcome is known.
func lookWhileConnecting(t *testing.T, peer unix.Sockaddr) (client.Outcome, result) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := attempt{fd: fd, begun: time.Now()}
	begin, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		<-begin
		_ = unix.Connect(fd, peer)
	}()
	close(begin)
	o, r := a.outcome(a.begun)
	for r == pending {
		o, r = a.outcome(a.begun)
	}
	<-done
	_ = unix.Close(fd)
	return o, r
}

// If a program ends while it waits for an answer, its connection has timed out, provided
// that its SYN was sent again. A moment after the connection began, nothing is known.
func TestOutcomeAtTheEnd(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	full, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := &attempt{begun: time.Now()}
	for { // until the queue is full, and nothing answers
		a.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func(fd int) { _ = unix.Close(fd) }(a.fd)
		if err := unix.Connect(a.fd, full); err != nil && err != unix.EINPROGRESS { //nolint:errorlint // as it is made
			t.Fatal(err)
		}
		if _, r := a.outcome(a.begun); r == pending {
			break
		}
	}
	if _, r := a.outcome(a.begun.Add(2 * synRetransmission)); r != pending {
		t.Errorf("while the program runs: result %v, want that it is pending", r)
	}
	a.last.Store(true)
	if _, r := a.outcome(a.begun.Add(synRetransmission / 2)); r != pending {
		t.Errorf("at the end, at once: result %v, want that it is pending", r)
	}
	if o, r := a.outcome(a.begun.Add(2 * synRetransmission)); r != known || o.Err != unix.ETIMEDOUT { //nolint:errorlint // as it is made
		t.Errorf("at the end: result %v, %v; want that it timed out", r, o.Err)
	}
}

// A socket that the program has bound to a port of the kernel's choice is also looked at
// before it connects.
func TestOutcomeOfBoundSockets(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := taken.Addr().(*net.TCPAddr).Port
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		port int
		want error
	}{
		{"connected", l.Addr().(*net.TCPAddr).Port, nil},
		{"refused", closed, unix.ECONNREFUSED},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
				t.Fatal(err)
			}
			a := attempt{fd: fd, begun: time.Now(), bound: true}
			if _, r := a.outcome(a.begun); r != pending {
				t.Fatalf("before it connects: result %v, want that it is pending", r)
			}
			if _, r := a.outcome(a.begun.Add(patience + 1)); r != nothing {
				t.Errorf("never connected: result %v, want nothing", r)
			}
			if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: tt.port}); err != nil && err != unix.EINPROGRESS { //nolint:errorlint // as it is made
				t.Fatal(err)
			}
			o, r := a.outcome(a.begun)
			for r == pending {
				o, r = a.outcome(a.begun)
			}
			if r != known || o.Err != tt.want || !o.Local.Addr().IsLoopback() { //nolint:errorlint // as it is made
				t.Errorf("result %v, from %v, %v; want %v", r, o.Local, o.Err, tt.want)
			}
		})
	}
}

// When the result of a connection is known, the kernel reports nothing of it any more, though
// the program has it open. A later copy of the socket with the same number is watched again.
func TestFollowerLetsGo(t *testing.T) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(epoll) }()
	f := &follower{epoll: epoll, most: maxFollowed, under: map[int]*attempt{}}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	const number = 500 // nothing else gets it here
	copied := func() *attempt {
		t.Helper()
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, number)
		if err != nil || n != number {
			t.Fatalf("the copy is %d, %v; want %d", n, err, number)
		}
		a := &attempt{fd: n}
		if !f.add(a) {
			t.Fatal("not followed")
		}
		f.watch(a)
		return a
	}
	first := copied()
	if !f.drop(first) {
		t.Error("the first was forgotten before")
	}
	events := make([]unix.EpollEvent, 1)
	if n, err := unix.EpollWait(epoll, events, 0); n != 0 || err != nil { // without a connection, it counts as hung up
		t.Errorf("%d events of what is followed no more, %v", n, err)
	}
	second := copied()
	if f.under[number] != second {
		t.Fatal("the second is not watched")
	}
	if f.drop(first) || f.under[number] != second {
		t.Error("what was forgotten takes the next one along")
	}
	if n, err := unix.EpollWait(epoll, events, 0); n != 1 || err != nil {
		t.Errorf("%d events of the second, %v", n, err)
	}
	f.drop(second)
}
