package placement

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/placement/notify"
)

// errNoSocket says that a call is not about a socket with a destination.
var errNoSocket = errors.New("no destination")

// wish is what a call asks for: that a socket be connected to a destination.
type wish struct {
	fd   int
	dest netip.AddrPort // as the program gave it: IPv4 in IPv6 is not unmapped
	// datagram tells that the call sends a datagram (or, from a stream socket,
	// opens it by TCP Fast Open) rather than connects.
	datagram bool
}

// readWish finds out what a call asks for. The error is errNoSocket if the call has no
// IPv4 or IPv6 destination.
func readWish(c notify.Call) (wish, error) {
	w := wish{fd: int(int32(c.Args[0])), datagram: c.NR != unix.SYS_CONNECT}
	var addr, size uint64
	switch c.NR {
	case unix.SYS_CONNECT:
		addr, size = c.Args[1], uint64(uint32(c.Args[2]))
	case unix.SYS_SENDTO:
		addr, size = c.Args[4], uint64(uint32(c.Args[5]))
	case unix.SYS_SENDMSG, unix.SYS_SENDMMSG: // of several messages the first
		var h unix.Msghdr
		if err := readMemory(c.PID, c.Args[1], unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))); err != nil {
			return w, err
		}
		if h.Name != nil && h.Controllen > 0 {
			if own, err := saysWhere(c.PID, &h); own || err != nil {
				return w, cmp.Or(err, errNoSocket)
			}
		}
		addr, size = uint64(uintptr(unsafe.Pointer(h.Name))), uint64(h.Namelen)
	}
	if addr == 0 || size < 2 {
		return w, errNoSocket
	}
	var b [unix.SizeofSockaddrInet6]byte
	n := min(size, uint64(len(b)))
	if err := readMemory(c.PID, addr, b[:n]); err != nil {
		return w, err
	}
	dest, err := parseSockaddr(b[:n])
	w.dest = dest
	return w, err
}

// maxControl bounds how much of a message's control data is read. The data that name a
// source take less than 100 bytes.
const maxControl = 1024

// saysWhere tells whether a message's control data name the source to send from
// (IP_PKTINFO, ip(7); IPV6_PKTINFO, RFC 3542 section 6). Other data do not, such as the
// ECN mark that QUIC sets.
func saysWhere(tid uint32, h *unix.Msghdr) (bool, error) {
	b := make([]byte, min(uint64(h.Controllen), maxControl))
	if err := readMemory(tid, uint64(uintptr(unsafe.Pointer(h.Control))), b); err != nil {
		return false, err
	}
	return hasPacketInfo(b), nil
}

func hasPacketInfo(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return true // malformed: the kernel reports that to the program
	}
	return slices.ContainsFunc(messages, func(m unix.SocketControlMessage) bool {
		return m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO || m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO
	})
}

// parseSockaddr reads a socket address of IPv4 or IPv6 (ip(7), ipv6(7)). Anything else
// is errNoSocket: the call goes on, and the kernel tells the program what is wrong.
func parseSockaddr(b []byte) (netip.AddrPort, error) {
	if len(b) < 2 {
		return netip.AddrPort{}, errNoSocket
	}
	family := uint16(b[0]) | uint16(b[1])<<8
	switch {
	case family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port(b)), nil
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6-4: // the old form without a scope (RFC 2133)
		a := netip.AddrFrom16([16]byte(b[8:24]))
		if len(b) >= unix.SizeofSockaddrInet6 {
			if scope := uint32(b[24]) | uint32(b[25])<<8 | uint32(b[26])<<16 | uint32(b[27])<<24; scope != 0 && !a.Is4In6() {
				a = a.WithZone(strconv.FormatUint(uint64(scope), 10))
			}
		}
		return netip.AddrPortFrom(a, port(b)), nil
	}
	return netip.AddrPort{}, errNoSocket
}

func port(b []byte) uint16 { return uint16(b[2])<<8 | uint16(b[3]) }

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
