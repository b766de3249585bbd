package placement

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readMemory fills b from a thread's memory.
func readMemory(tid uint32, from uint64, b []byte) error {
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	n, err := unix.ProcessVMReadv(int(tid), local, []unix.RemoteIovec{{Base: uintptr(from), Len: len(b)}}, 0)
	switch {
	case err != nil:
		return os.NewSyscallError("process_vm_readv", err)
	case n != len(b):
		return fmt.Errorf("process_vm_readv: %d of %d bytes", n, len(b))
	}
	return nil
}

// pidfdThread asks pidfd_open(2) for a thread rather than a process (Linux 6.9). A
// thread can have a table of descriptors of its own. Asked for the process, the kernel
// would silently take the descriptor from another table.
const pidfdThread = unix.O_EXCL

// thread is the thread that makes a call. A descriptor stands for it, because its
// number may be given to another thread.
type thread struct {
	tid   uint32
	pidfd int
	// lasting tells that all that is asked fails once the thread is gone, even if its
	// number is another thread's then.
	lasting bool
	// name is the file with the command of the thread's process; -1: none. A thread stays
	// in its process. One that executes a program gets the number of the first thread
	// (execve(2)), and its own number is nobody's then.
	name int
}

// openThread opens a thread; close closes it again.
func openThread(tid uint32) (*thread, error) {
	t := &thread{tid: tid, lasting: true, name: -1}
	var err error
	t.pidfd, err = unix.PidfdOpen(int(tid), pidfdThread)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.9: ask for the process
		c, err2 := readCaller(tid)
		if err2 != nil {
			return nil, err2
		}
		t.lasting = false // the process may outlive the thread
		t.pidfd, err = unix.PidfdOpen(c.pid, 0)
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return t, nil
}

func (t *thread) close() {
	_ = unix.Close(t.pidfd)
	if t.name >= 0 {
		_ = unix.Close(t.name)
	}
}

// descriptor copies a descriptor of the thread.
func (t *thread) descriptor(fd int) (int, error) {
	n, err := unix.PidfdGetfd(t.pidfd, fd, 0)
	return n, os.NewSyscallError("pidfd_getfd", err)
}

// caller is the process that made a call.
type caller struct {
	pid     int
	uid     uint32
	command string // as ps(1) shows it; may contain anything
}

// pidfdInfo is struct pidfd_info in its first version (linux/pidfd.h, 6.13), and
// pidfdGetInfo the request that fills it.
type pidfdInfo struct {
	mask            uint64
	cgroup          uint64
	pid, tgid, ppid uint32
	ruid, rgid      uint32
	euid, egid      uint32
	suid, sgid      uint32
	fsuid, fsgid    uint32
	exitCode        int32
}

const (
	pidfdGetInfo   = 0xc040ff0b // _IOWR(0xff, 11, 64 bytes)
	pidfdInfoPID   = 1 << 0
	pidfdInfoCreds = 1 << 1
)

// caller returns the process that the thread belongs to.
func (t *thread) caller() (caller, error) {
	info := pidfdInfo{mask: pidfdInfoPID | pidfdInfoCreds}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(t.pidfd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	const both = pidfdInfoPID | pidfdInfoCreds
	switch {
	case errno == unix.ESRCH:
		return caller{}, os.NewSyscallError("ioctl PIDFD_GET_INFO", errno) // the thread is gone
	case errno != 0 || info.mask&both != both: // Linux before 6.13
		t.lasting = false        // what follows goes by the number, which may be another thread's later
		return readCaller(t.tid) // slower: it takes some tens of microseconds
	}
	c := caller{pid: int(info.tgid), uid: info.ruid}
	var err error
	c.command, err = t.command(c.pid)
	return c, err
}

// command reads the command of the thread's process (proc_pid_comm(5)). The file stays
// open, as looking it up takes longer than reading it.
func (t *thread) command(pid int) (string, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/comm"
	if t.name < 0 {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", &os.PathError{Op: "open", Path: path, Err: err}
		}
		t.name = fd
	}
	var b [64]byte // a program's has 15 at most
	n, err := unix.Pread(t.name, b[:], 0)
	if err != nil {
		return "", &os.PathError{Op: "read", Path: path, Err: err}
	}
	return strings.TrimSuffix(string(b[:n]), "\n"), nil
}

// maxThreads bounds the threads that are kept open. Each takes two descriptors.
const maxThreads = 64

// threads keeps threads that have called open: most that call do it again. The zero value
// keeps none yet.
type threads struct {
	mu   sync.Mutex
	kept map[uint32]*thread
}

// take returns an open thread, which nobody else uses until it is given back. A kept one
// may be gone, and its number another's: then all that it is asked fails.
func (t *threads) take(tid uint32) (th *thread, kept bool, err error) {
	t.mu.Lock()
	th = t.kept[tid]
	delete(t.kept, tid)
	t.mu.Unlock()
	if th != nil {
		return th, true, nil
	}
	th, err = openThread(tid)
	return th, false, err
}

// give gives a thread back. If more threads would be kept than maxThreads, any other is
// closed.
func (t *threads) give(th *thread) {
	if !th.lasting {
		th.close()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		t.kept = map[uint32]*thread{}
	}
	if old := t.kept[th.tid]; old != nil { // of a call that was withdrawn
		old.close()
	}
	t.kept[th.tid] = th
	for tid, other := range t.kept {
		if len(t.kept) <= maxThreads {
			return
		}
		if tid != th.tid {
			delete(t.kept, tid)
			other.close()
		}
	}
}

// caller returns an open thread and the process that it belongs to. Without an error,
// the thread is to be given back.
func (t *threads) caller(tid uint32) (*thread, caller, error) {
	for {
		th, kept, err := t.take(tid)
		if err != nil {
			return nil, caller{}, err
		}
		who, err := th.caller()
		if err == nil {
			return th, who, nil
		}
		th.close()
		if !kept {
			return nil, who, err
		}
	}
}

// readCaller reads which process a thread belongs to (proc_pid_status(5)).
func readCaller(tid uint32) (caller, error) {
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return caller{}, err
	}
	return parseStatus(b)
}

func parseStatus(b []byte) (c caller, err error) {
	found := 0
	for line := range bytes.Lines(b) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":\t")
		switch key {
		case "Name":
			c.command = value
		case "Tgid":
			c.pid, err = strconv.Atoi(value)
		case "Uid": // real, effective, saved, file system's
			real, _, _ := strings.Cut(value, "\t")
			var n uint64
			n, err = strconv.ParseUint(real, 10, 32)
			c.uid = uint32(n)
		default:
			continue
		}
		if err != nil {
			return c, fmt.Errorf("read status of a process: %w", err)
		}
		if found++; found == 3 {
			return c, nil
		}
	}
	return c, errors.New("read status of a process: it lacks its name, number or user")
}
