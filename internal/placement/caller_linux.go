package placement

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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
}

// openThread opens a thread; close closes it again.
func openThread(tid uint32) (*thread, error) {
	pidfd, err := unix.PidfdOpen(int(tid), pidfdThread)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.9: ask for the process
		c, err2 := readCaller(tid)
		if err2 != nil {
			return nil, err2
		}
		pidfd, err = unix.PidfdOpen(c.pid, 0)
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return &thread{tid, pidfd}, nil
}

func (t *thread) close() { _ = unix.Close(t.pidfd) }

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
	if errno != 0 || info.mask&both != both {
		return readCaller(t.tid) // slower: it takes some tens of microseconds
	}
	c := caller{pid: int(info.tgid), uid: info.ruid}
	name, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid) + "/comm")
	c.command = strings.TrimSuffix(string(name), "\n")
	return c, err
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
