package placement

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
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

// connectTo makes a socket of TCP connect, and returns it with a copy of it. The socket is
// closed at the end of the test.
func connectTo(t *testing.T, l net.Listener) (theirs, own int) {
	t.Helper()
	theirs, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(theirs) })
	own, err = unix.FcntlInt(uintptr(theirs), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(theirs, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port})
	}
	if err != nil {
		t.Fatal(err)
	}
	return theirs, own
}

// Connections are looked at together, each a moment after it began, and then less and less
// often. The copies of those whose results are known are closed.
func TestFollowerPasses(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	f := newFollower()
	waits, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, own := connectTo(t, l)
	f.pass(time.Now()) // from now on, nothing is looked at for long
	done, still := &attempt{fd: own, decision: &client.Decision{}}, &attempt{fd: waits}
	if !f.add(done) || !f.add(still) || len(f.wake) != 1 {
		t.Fatalf("not followed, or not woken: %d", len(f.wake))
	}
	<-f.wake
	now := still.begun
	if rest := f.pass(now); rest != followFirst || len(f.under) != 2 {
		t.Errorf("at once: %d are followed, and the next look is in %v", len(f.under), rest)
	}
	now = now.Add(followFirst)
	if f.pass(now); len(f.under) != 1 || f.under[waits] != still {
		t.Errorf("after %v, %d are followed; want the one that has not connected", followFirst, len(f.under))
	}
	if _, err := unix.FcntlInt(uintptr(own), unix.F_GETFD, 0); err == nil {
		t.Error("the copy is open")
	}
	looks := 0
	for rest := f.pass(now); len(f.under) > 0; looks++ {
		now = now.Add(rest)
		rest = f.pass(now)
	}
	if age := now.Sub(still.begun); age < patience || age > patience+2*followMost || looks > 100 {
		t.Errorf("it is given up after %v and %d looks; want %v", age, looks, patience)
	}
	if rest := f.pass(now); rest != patience || len(f.due) != 0 {
		t.Errorf("with %d left, the next look is in %v", len(f.due), rest)
	}
}

// No more copies are kept than the bound says.
func TestFollowerIsBounded(t *testing.T) {
	f := newFollower()
	f.most = 2
	for fd, want := range []bool{true, true, false} {
		if got := f.add(&attempt{fd: fd + 1e6}); got != want {
			t.Errorf("number %d: %v", fd, got)
		}
	}
}

// A connection may be over when it is looked at. What took long was not its connecting.
func TestOutcomeOfLateLooks(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, own := connectTo(t, l)
	defer func() { _ = unix.Close(own) }()
	a := &attempt{fd: own, begun: time.Now(), candidate: 1}
	o, r := a.outcome(a.begun.Add(time.Second))
	if r != known || o.Err != nil || o.Candidate != 1 || o.Duration <= 0 || o.Duration > time.Second/2 {
		t.Errorf("%v, %+v; want a connection that took as long as an answer takes", r, o)
	}
	a.called = a.begun.Add(-time.Second)
	if o, r := a.outcome(a.begun); r != known || o.Duration != time.Second {
		t.Errorf("%v, %+v; want the time from the program's call", r, o)
	}
}

// Nobody looks at a socket while it is moved. Afterwards the connection is the new
// network's, or the old one's if moving failed.
func TestFollowerOfMovedSockets(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want client.Candidate
	}{
		{"moved", nil, 1},
		{"not moved", unix.EPERM, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFollower()
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			a := &attempt{fd: fd, source: netip.MustParseAddr("10.1.0.2")}
			if !f.add(a) {
				t.Fatal("not followed")
			}
			late := time.Now().Add(2 * patience) // when a socket that has not begun to connect is given up
			err = f.instead(a, client.Endpoint{Candidate: 1, Source: netip.MustParseAddr("10.2.0.2")}, func() error {
				f.look(f.under[fd], late)
				if f.under[fd] == nil {
					t.Error("it was looked at meanwhile")
				}
				return tt.err
			})
			now := f.under[fd]
			if !errors.Is(err, tt.err) || now == nil || now.candidate != tt.want || (now == a) != (tt.err != nil) {
				t.Fatalf("%v; followed is %+v, want candidate %d", err, now, tt.want)
			}
			if f.look(now, late); len(f.under) != 0 || len(f.due) != 0 {
				t.Error("it is not looked at any more")
			}
		})
	}
}

// A program may want its sockets to linger for an hour while the peer takes nothing. The last
// copy is this process's, and closing it holds nobody up, however many there are. All that was
// written arrives.
func TestLingeringCopies(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	f := newFollower()
	var written []int64
	var peers []net.Conn
	for i := range maxLingering + 3 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600}),
			unix.Connect(fd, to), unix.SetNonblock(fd, true),
		); err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = peer.Close() }()
		peers = append(peers, peer)
		var sum int64
		for err == nil {
			var n int
			n, err = unix.Write(fd, make([]byte, 64<<10))
			sum += int64(max(n, 0))
		}
		written = append(written, sum)
		// Each would take the hour.
		if i%2 == 0 {
			(&reached{p: &placer{follow: f}, socket: socket{fd: fd}}).close() // after a call that was looked at
		} else {
			f.copies.close(fd)
		}
	}
	for i, peer := range peers {
		if n, err := io.Copy(io.Discard, peer); err != nil || n != written[i] {
			t.Errorf("connection %d: %d of %d bytes arrived, %v", i, n, written[i], err)
		}
	}
	for range maxLingering { // all are closed
		f.copies <- struct{}{}
	}
}

// Numbers of threads and processes are given to others. One that is not in this run is neither
// looked into nor stopped, and threads of one process say nothing about another one.
func TestWaiterIsOfThisRun(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing is accepted
	theirs, own := connectTo(t, l)
	defer unix.Close(own) //nolint:errcheck // a copy
	cookie, err := unix.GetsockoptUint64(own, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Skip("needs cat: ", err)
	}
	defer func() {
		_ = in.Close()
		_ = child.Wait()
	}()
	self := os.Getpid()
	for _, tt := range []struct {
		name string
		waiter
		want error
	}{
		{"this process", waiter{uint32(self), self, theirs, nil}, nil},
		{"a process that is not in this run", waiter{uint32(self), os.Getppid(), theirs, nil}, errGone},
		{"another process of this run", waiter{uint32(self), child.Process.Pid, theirs, nil}, errGone},
		{"a process that is gone", waiter{uint32(self), 1 << 22, theirs, nil}, errGone},
	} {
		if err := tt.mayMove(own, cookie); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// A socket that a child has got is shared, until the child has ended. Others are not.
func TestSharedSocket(t *testing.T) {
	sleeper, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat(1)")
	}
	var fds [2]int
	for i := range fds {
		if fds[i], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fds[i]) })
	}
	handed, err := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(handed), "handed")
	cmd := exec.Command(sleeper)
	cmd.ExtraFiles = []*os.File{f}
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	check := func(when string, w waiter, fd int, want bool) {
		t.Helper()
		if got, err := w.shared(fd); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", when, got, err, want)
		}
	}
	parent := waiter{pid: 1} // neither this process nor the child
	check("a child has it", parent, fds[0], true)
	check("nobody else has it", parent, fds[1], false)
	check("only the child itself has it", waiter{pid: cmd.Process.Pid}, fds[0], false)
	_ = end.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	check("the child has ended", parent, fds[0], false)
}
