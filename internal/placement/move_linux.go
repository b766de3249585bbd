package placement

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

// A socket that connects has its source address in its SYN, so it can be moved to another
// network only by connecting anew. The kernel offers that in three steps: end the attempt
// (connect to AF_UNSPEC), bind, connect. The socket stays the same, so that what epoll(7)
// is to watch goes on to be watched. A program that looks at the socket between the steps
// would see a failure. So the threads that might look are stopped meanwhile, by
// ptrace(2), which no other process notices: the thread that is blocked in connect(2),
// or else all threads of the process. A socket that another process has, too, is not moved. That interrupts their system calls, as a stop and
// SIGCONT do. The kernel then begins most calls again. epoll_wait(2) ends with EINTR, which
// programs that use it have to expect. Where another call would end so (signal(7)),
// nothing is stopped.

// waiter is the thread whose call began the connection, usually by connect(2).
type waiter struct {
	tid uint32
	pid int // its process
	fd  int // the socket, in the thread's table of descriptors; -1: the call was not connect(2)
	// copies closes copies of sockets.
	copies closer
}

var (
	errAnswered = errors.New("the destination has answered meanwhile")
	errOtherUse = errors.New("a thread of the program waits in a system call that would fail if it was interrupted")
	errTimed    = errors.New("the socket has a time limit for sending (SO_SNDTIMEO), by which connect would fail if it was interrupted")
	errFastOpen = errors.New("the socket carries data in its SYN (TCP_FASTOPEN_CONNECT)")
	errGone     = errors.New("the program has given the connection up")
	errShared   = errors.New("another process has the same socket, and might look at it")
	errSignal   = errors.New("a signal has come to the program at the same moment")
	errOutside  = errors.New("the program is not in connect any more")
)

// mayMove checks that the program still has the socket, and that the socket can be moved.
// own is this process's descriptor of it.
func (w waiter) mayMove(own int, cookie uint64) error {
	if !w.has(cookie) {
		return errGone
	}
	limit, err := unix.GetsockoptTimeval(own, unix.SOL_SOCKET, unix.SO_SNDTIMEO)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_SNDTIMEO", err)
	}
	fast, err := unix.GetsockoptInt(own, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt TCP_FASTOPEN_CONNECT", err)
	case *limit != unix.Timeval{}:
		return errTimed
	case fast != 0:
		return errFastOpen
	}
	return nil
}

// has tells whether the program still has the socket. The thread that began the
// connection may have ended, but others have the same descriptors. The numbers may be those of
// other processes by now, which are left alone unless they are in this run. The supervisor may
// be root and have the right to stop any process.
func (w waiter) has(cookie uint64) bool {
	if !descends(w.pid, os.Getpid()) {
		return false
	}
	for _, tid := range []uint32{w.tid, uint32(w.pid)} {
		if th, err := openThread(tid); err == nil {
			who, err := th.caller()
			var c uint64
			if err == nil && who.pid == w.pid {
				c, err = th.cookie(w.fd, w.copies)
			}
			th.close()
			if err == nil && who.pid == w.pid && c == cookie {
				return true
			}
		}
	}
	return false
}

// shared tells whether another process of the run has the socket, as after fork(2). own is this
// process's descriptor of it. Of processes into which this one may not look, it is not known;
// they count as having none.
func (w waiter) shared(own int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(own, &st); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	d, err := os.Open("/proc")
	if err != nil {
		return false, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	link := "socket:[" + strconv.FormatUint(st.Ino, 10) + "]"
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == w.pid || pid == os.Getpid() || !descends(pid, os.Getpid()) {
			continue
		}
		if holds(pid, link) {
			return true, nil
		}
	}
	return false, nil
}

// holds tells whether a process has a descriptor of a file, which is named as in
// proc_pid_fd(5).
func holds(pid int, link string) bool {
	folder := "/proc/" + strconv.Itoa(pid) + "/fd"
	d, err := os.Open(folder)
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }()
	names, _ := d.Readdirnames(-1) // an error means that it has ended
	return slices.ContainsFunc(names, func(fd string) bool {
		to, err := os.Readlink(folder + "/" + fd)
		return err == nil && to == link
	})
}

// cookie returns the cookie of a socket of the thread.
func (t *thread) cookie(fd int, copies closer) (uint64, error) {
	theirs, err := t.descriptor(fd)
	if err != nil {
		return 0, err
	}
	defer copies.close(theirs)
	return unix.GetsockoptUint64(theirs, unix.SOL_SOCKET, unix.SO_COOKIE)
}

// stopped calls f while no thread of the program can look at the socket. again tells f that
// no thread is in connect(2), so that f has to begin to connect. own is this process's
// descriptor of the socket.
func (w waiter) stopped(t *tracer, own int, f func(again bool) error) error {
	inside, err := w.inside(own)
	for range signalTries {
		if err != nil || !inside {
			break
		}
		err = t.hold(w.tid, func() error {
			if inside, err := w.inside(own); err != nil || !inside {
				return cmp.Or(err, errOutside)
			}
			return f(false)
		})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errSignal), errors.Is(err, errOutside):
			inside, err = w.inside(own) // the signal's handler may have ended the call
		}
	}
	switch {
	case err != nil:
		return err
	case inside:
		return errSignal
	}
	if err := w.interruptible(); err != nil {
		return err
	}
	return t.holdAll(w.pid, func() error { return f(true) })
}

// signalTries is how often to try to stop a thread that gets signals. Those who get many,
// such as under a profiler, get 1000 in a second.
const signalTries = 3

// inside tells whether the thread is blocked in connect(2) with the socket.
func (w waiter) inside(own int) (bool, error) {
	flags, err := unix.FcntlInt(uintptr(own), unix.F_GETFL, 0)
	if err != nil {
		return false, os.NewSyscallError("fcntl F_GETFL", err)
	}
	nr, fd, err := callOf(w.pid, int(w.tid))
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		return false, nil // the thread has ended
	case err != nil:
		return false, err
	}
	return nr == unix.SYS_CONNECT && flags&unix.O_NONBLOCK == 0 && fd == w.fd, nil
}

const (
	// callTries is how often to look at a thread that is in a system call that must not be
	// interrupted, and callRest the time between. A call that does not wait is over then.
	callTries = 4
	callRest  = 5 * time.Millisecond
)

// interruptible checks that no thread of the process waits in a call that an interruption
// would end with an error, other than epoll_wait(2).
func (w waiter) interruptible() error {
	list, err := tasks(w.pid)
	if err != nil {
		return err
	}
	if len(list) > maxHeld {
		return errTooMany
	}
	for _, tid := range list {
		for try := range callTries {
			if try > 0 {
				time.Sleep(callRest)
			}
			if err = w.interrupts(tid); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// interrupts checks that the call that a thread is in may be interrupted.
func (w waiter) interrupts(tid int) error {
	nr, fd, err := callOf(w.pid, tid)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		return nil // it has ended
	case err != nil:
		return err
	case nr < 0, slices.Contains(resumed, nr):
		return nil
	}
	var option int
	switch {
	case slices.Contains(receivingCalls, nr):
		option = unix.SO_RCVTIMEO
	case slices.Contains(sendingCalls, nr):
		option = unix.SO_SNDTIMEO
	default:
		return fmt.Errorf("%w (number %d)", errOtherUse, nr)
	}
	limited, err := w.timeLimit(uint32(tid), fd, option)
	if err == nil && limited {
		err = fmt.Errorf("%w (number %d, with a time limit)", errOtherUse, nr)
	}
	return err
}

// timeLimit tells whether a thread's descriptor is a socket with a time limit.
func (w waiter) timeLimit(tid uint32, fd, option int) (bool, error) {
	th, err := openThread(tid)
	if err != nil {
		return false, err
	}
	defer th.close()
	theirs, err := th.descriptor(fd)
	if err != nil {
		return false, err
	}
	defer w.copies.close(theirs)
	limit, err := unix.GetsockoptTimeval(theirs, unix.SOL_SOCKET, option)
	if errors.Is(err, unix.ENOTSOCK) {
		return false, nil
	}
	return err != nil || *limit != unix.Timeval{}, os.NewSyscallError("getsockopt", err)
}

// callOf returns the system call that a thread is in, -1 if it is in none, and the call's
// first argument as a descriptor.
func callOf(pid, tid int) (nr int64, fd int, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/syscall")
	if err != nil {
		return 0, 0, err
	}
	nr, arg, err := parseSyscall(string(b))
	return nr, int(int32(arg)), err
}

// parseSyscall reads which call a thread is in, and the call's first argument
// (proc_pid_syscall(5)). The number is -1 if it is in none.
func parseSyscall(text string) (nr int64, arg uint64, err error) {
	f := strings.Fields(text)
	if len(f) == 0 {
		return 0, 0, errors.New("read the system call of a thread: nothing is said")
	}
	if f[0] == "running" {
		return -1, 0, nil
	}
	if nr, err = strconv.ParseInt(f[0], 10, 64); err != nil {
		return 0, 0, fmt.Errorf("read the system call of a thread: %w", err)
	}
	if nr >= 0 {
		if len(f) < 2 {
			return 0, 0, errors.New("read the system call of a thread: it lacks its arguments")
		}
		arg, err = strconv.ParseUint(f[1], 0, 64)
	}
	return nr, arg, err
}

// relocate makes the socket leave by another endpoint than the one that it is connecting
// from. With again, it also begins to connect. Otherwise the program's own connect(2) does
// so, which the kernel begins again. No thread of the program looks at the socket meanwhile.
func (a *attempt) relocate(fd int, e client.Endpoint, again bool) error {
	if !a.waiting(fd) {
		return errAnswered
	}
	before, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_BINDTODEVICE", err)
	}
	device := placeOf(e).device
	if before != device { // the kernel refuses this without CAP_NET_RAW if the socket has a device already
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	e.Options = slices.DeleteFunc(slices.Clone(e.Options), func(o client.SocketOption) bool {
		return o.Level == unix.SOL_SOCKET && o.Name == unix.SO_BINDTODEVICE
	})
	s := socket{fd: fd, v6: a.v6, typ: unix.SOCK_STREAM, protocol: unix.IPPROTO_TCP}
	if err := disconnect(fd); err != nil {
		return err
	}
	err = s.bind(e)
	if _, local, nameErr := localName(fd); err == nil && (nameErr != nil || local.Addr().Unmap() != e.Source) {
		err = fmt.Errorf("the socket is not bound to %v: %w", e.Source, errors.Join(nameErr))
	}
	if err != nil { // try to make it as it was
		back := client.Endpoint{Source: a.source, Remote: a.dest}
		err = errors.Join(err, unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, before), s.bind(back))
	}
	if again {
		err = errors.Join(err, s.beginConnect(a.dest))
	}
	return err
}

// disconnect ends what a socket has begun (connect(2)).
func disconnect(fd int) error {
	var sa unix.RawSockaddrInet4 // of AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return os.NewSyscallError("connect to AF_UNSPEC", errno)
	}
	return nil
}

// beginConnect makes the socket connect, without waiting for that, whether the socket
// blocks or not.
func (s *socket) beginConnect(dest netip.AddrPort) error {
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0)
	if err != nil {
		return os.NewSyscallError("fcntl F_GETFL", err)
	}
	if flags&unix.O_NONBLOCK == 0 {
		if _, err := unix.FcntlInt(uintptr(s.fd), unix.F_SETFL, flags|unix.O_NONBLOCK); err != nil {
			return os.NewSyscallError("fcntl F_SETFL", err)
		}
		defer func() { _, _ = unix.FcntlInt(uintptr(s.fd), unix.F_SETFL, flags) }()
	}
	var sa unix.Sockaddr
	if s.v6 {
		sa = &unix.SockaddrInet6{Addr: dest.Addr().As16(), Port: int(dest.Port())}
	} else {
		sa = &unix.SockaddrInet4{Addr: dest.Addr().As4(), Port: int(dest.Port())}
	}
	if err := unix.Connect(s.fd, sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	return nil
}
