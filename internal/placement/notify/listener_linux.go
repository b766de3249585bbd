package notify

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnsupported means that this kernel or architecture has no usable user
// notification.
var ErrUnsupported = errors.New("seccomp user notification is not supported")

// ErrBusy means that the calling process already has a filter with a listener. The
// kernel accepts one only.
var ErrBusy = errors.New("another listener answers for this process already")

// Install gives up the calls of the calling thread to a new listener, whose descriptor
// it returns. The same holds for children and programs that the thread starts from now
// on. Install sets no-new-privileges, without which only a privileged process may have
// a filter. The goroutine must be locked to its thread (runtime.LockOSThread). It must
// execute a program, or end, without being unlocked.
//
// The errors ErrUnsupported and ErrBusy are wrapped.
func Install(c Calls) (fd int, err error) {
	if nativeArch == 0 {
		return -1, fmt.Errorf("%w on %s", ErrUnsupported, runtime.GOARCH)
	}
	filter, err := c.assemble()
	if err != nil {
		return -1, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// With WAIT_KILLABLE_RECV (5.19), only a deadly signal interrupts a call that is
	// about to be answered.
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		n, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		runtime.KeepAlive(filter)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINVAL:
			err = fmt.Errorf("%w (Linux 5.9 or later is needed): %w", ErrUnsupported, os.NewSyscallError("seccomp", errno))
		case unix.EBUSY:
			return -1, fmt.Errorf("%w: %w", ErrBusy, os.NewSyscallError("seccomp", errno))
		case unix.ENOSYS:
			return -1, fmt.Errorf("%w: %w", ErrUnsupported, os.NewSyscallError("seccomp", errno))
		default:
			return -1, os.NewSyscallError("seccomp", errno)
		}
	}
	return -1, err
}

// Mark gives the calling thread a further filter, which changes nothing. Children and programs
// that the thread starts from now on have it, too, and cannot get rid of it. So the number of
// their filters, which proc_pid_status(5) shows, is larger by one. As for Install, the
// goroutine must be locked to its thread.
func Mark() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", err)
	}
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// Call is a system call that waits for its answer.
type Call struct {
	ID   uint64 // of the notification
	PID  uint32 // of the calling thread, in this process's namespace; 0: not visible there
	NR   int32  // number of the call
	Args [6]uint64
	// Foreign tells that the call was made by another system call interface than this
	// process's own, and has another number therefore. It opens a socket.
	Foreign bool
	// Packed tells that it is socketcall(2), whose second argument is the address of
	// the arguments of socket(2), each of 32 bits.
	Packed bool
}

// The structures of linux/seccomp.h as this package knows them. The kernel's may be
// longer, and it tells their length.
type (
	notifData struct {
		nr   int32
		arch uint32
		ip   uint64
		args [6]uint64
	}
	notif struct {
		id    uint64
		pid   uint32
		flags uint32
		data  notifData
	}
	notifResp struct {
		id    uint64
		val   int64
		err   int32
		flags uint32
	}
	notifAddFD struct {
		id         uint64
		flags      uint32
		srcfd      uint32
		newfd      uint32
		newfdFlags uint32
	}
	notifSizes struct{ notif, resp, data uint16 }
)

// Listener receives notifications and answers them. Several goroutines may call its
// methods at once.
type Listener struct {
	fd    int
	sizes notifSizes
}

// NewListener makes a Listener of a descriptor that Install has returned, perhaps in
// another process. Unless there is an error, the Listener then owns the descriptor.
func NewListener(fd int) (*Listener, error) {
	l := &Listener{fd: fd}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&l.sizes))); errno != 0 {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, os.NewSyscallError("seccomp SECCOMP_GET_NOTIF_SIZES", errno))
	}
	l.sizes.notif = max(l.sizes.notif, uint16(unsafe.Sizeof(notif{})))
	l.sizes.resp = max(l.sizes.resp, uint16(unsafe.Sizeof(notifResp{})))
	// With this flag, caller and listener take turns on one processor instead of waking
	// each other across two (6.6). Without it everything works the same, so an error is
	// ignored.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return l, nil
}

// Close closes the descriptor. Calls that wait for an answer then fail with
// ENOSYS, and so do all later ones.
func (l *Listener) Close() error { return unix.Close(l.fd) }

// ErrEnded means that the listener has no process left to answer for.
var ErrEnded = errors.New("no process is left")

// A Buffer is memory for Receive. Each receiving goroutine needs its own.
type Buffer struct{ b []uint64 } // the structures are aligned to eight bytes

// Receive waits for the next call, and blocks its thread meanwhile. It does not poll(2)
// first, which would report one call to all that wait, and wake them. It returns
// ErrEnded when the last process is gone. Kernels before 6.11 do not end the wait then.
func (l *Listener) Receive(buf *Buffer) (Call, error) {
	words := (int(l.sizes.notif) + 7) / 8
	if len(buf.b) < words {
		buf.b = make([]uint64, words)
	}
	for {
		clear(buf.b)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&buf.b[0])))
		switch errno {
		case 0:
			n := (*notif)(unsafe.Pointer(&buf.b[0]))
			c := Call{ID: n.id, PID: n.pid, NR: n.data.nr, Args: n.data.args}
			c.Foreign = n.data.arch != nativeArch || n.data.nr&x32Bit != 0 && nativeArch == unix.AUDIT_ARCH_X86_64
			c.Packed = n.data.arch == unix.AUDIT_ARCH_I386 && n.data.nr == i386Socketcall
			return c, nil
		case unix.ENOENT:
			// The call has been withdrawn, because its thread was killed or got a
			// signal, or no process is left.
			if err := l.left(); err != nil {
				return Call{}, err
			}
		case unix.EINTR:
		default:
			return Call{}, os.NewSyscallError("ioctl SECCOMP_IOCTL_NOTIF_RECV", errno)
		}
	}
}

// left returns an error if no more calls will come.
func (l *Listener) left() error {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	switch _, err := unix.Poll(fds, 0); {
	case errors.Is(err, unix.EINTR):
		return nil // Receive asks again
	case err != nil:
		return os.NewSyscallError("poll", err)
	case fds[0].Revents&unix.POLLHUP != 0:
		return ErrEnded
	}
	return nil
}

// Valid tells whether the call still waits. If so, everything that was read about its
// thread before, such as its memory, really belonged to that thread, and not to a later
// one with the same number.
func (l *Listener) Valid(c Call) bool {
	id := c.ID
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&id)))
	return errno == 0
}

// Continue lets the kernel carry out the call. An error means that nobody waits for it
// any more.
func (l *Listener) Continue(c Call) error {
	return l.respond(notifResp{id: c.ID, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// Fail makes the call fail with errno.
func (l *Listener) Fail(c Call, errno unix.Errno) error {
	return l.respond(notifResp{id: c.ID, err: -int32(errno)})
}

func (l *Listener) respond(r notifResp) error {
	var usual [8]uint64 // the structures are aligned to eight bytes
	b := usual[:]
	if words := (int(l.sizes.resp) + 7) / 8; words > len(b) { // of a later kernel
		b = make([]uint64, words)
	}
	*(*notifResp)(unsafe.Pointer(&b[0])) = r
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		return os.NewSyscallError("ioctl SECCOMP_IOCTL_NOTIF_SEND", errno)
	}
	return nil
}

// Return copies fd into the process, and makes the call return the copy's number (Linux
// 5.14). closeOnExec is a property of the copy.
func (l *Listener) Return(c Call, fd int, closeOnExec bool) error {
	a := notifAddFD{id: c.ID, flags: unix.SECCOMP_ADDFD_FLAG_SEND, srcfd: uint32(fd)}
	if closeOnExec {
		a.newfdFlags = unix.O_CLOEXEC
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_ADDFD, uintptr(unsafe.Pointer(&a))); errno != 0 {
		return os.NewSyscallError("ioctl SECCOMP_IOCTL_NOTIF_ADDFD", errno)
	}
	return nil
}
