package placement

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/client"
)

// A socket that connects has its source address in its SYN, so it can be moved to another
// network only by connecting anew. The kernel offers that in three steps: end the attempt
// (connect to AF_UNSPEC), bind, connect. A program that looks at the socket between them
// would see a failure. So the thread that waits for the socket is stopped meanwhile, by
// ptrace(2), which no other process notices. That interrupts the thread's system
// call, and the kernel begins the call again, as after a stop and SIGCONT. The kernel does
// so with some calls only (signal(7)). Threads that are in others are not stopped.

// waiter is the thread whose call began the connection, usually by connect(2).
type waiter struct {
	tid uint32
	pid int // its process
	fd  int // the socket, in the thread's table of descriptors; -1: the call was not connect(2)
}

var (
	errAnswered = errors.New("the destination has answered meanwhile")
	errOtherUse = errors.New("the program waits in a way that cannot be interrupted")
	errThreads  = errors.New("the program does not wait in connect(2), and has several threads, any of which may look at the socket")
	errTimed    = errors.New("the socket has a time limit for sending (SO_SNDTIMEO), by which connect(2) would fail if it is interrupted")
	errFastOpen = errors.New("the socket carries data in its SYN")
	errGone     = errors.New("the program has given the connection up")
)

// mayMove checks that the thread still has the socket, and that the program would not notice
// an interruption. own is this process's descriptor of the socket.
func (w waiter) mayMove(own int, cookie uint64) error {
	th, err := openThread(w.tid)
	if err != nil {
		return err
	}
	defer th.close()
	theirs, err := th.descriptor(w.fd)
	if err != nil {
		return errGone
	}
	defer func() { _ = unix.Close(theirs) }()
	if c, err := unix.GetsockoptUint64(theirs, unix.SOL_SOCKET, unix.SO_COOKIE); err != nil || c != cookie {
		return errGone // the number is another socket's
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
	_, err = w.inside(own)
	return err
}

// inside tells whether the thread is blocked in connect(2). If not, it may wait in poll(2) or
// select(2), or run.
// The error says why the thread cannot be interrupted, or the socket not be moved.
func (w waiter) inside(own int) (bool, error) {
	flags, err := unix.FcntlInt(uintptr(own), unix.F_GETFL, 0)
	if err != nil {
		return false, os.NewSyscallError("fcntl F_GETFL", err)
	}
	task := "/proc/" + strconv.Itoa(w.pid) + "/task"
	b, err := os.ReadFile(task + "/" + strconv.FormatUint(uint64(w.tid), 10) + "/syscall")
	if err != nil {
		return false, err
	}
	nr, arg, err := parseSyscall(string(b))
	switch {
	case err != nil:
		return false, err
	case nr == unix.SYS_CONNECT && flags&unix.O_NONBLOCK == 0:
		if int32(arg) != int32(w.fd) {
			return false, errGone // it connects another one
		}
		return true, nil
	case nr >= 0 && nr != unix.SYS_CONNECT && !slices.Contains(resumed, nr):
		return false, errOtherUse
	}
	threads, err := os.ReadDir(task)
	if err == nil && len(threads) != 1 {
		err = errThreads
	}
	return false, err
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
// so, which the kernel begins again. The thread that waits for the socket is stopped
// meanwhile.
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
	a.moves.Store(true)
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
