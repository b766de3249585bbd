package notify

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Calls are the system calls that a filter passes to its listener. All other calls go
// on as without a filter. So do all calls by another system call interface than the
// process's own, such as those of 32-bit programs on a 64-bit kernel.
type Calls struct {
	// Connect is connect(2), and sendto(2) with a destination: a first datagram,
	// or TCP Fast Open.
	Connect bool
	// Messages are sendmsg(2) and sendmmsg(2). A filter cannot see whether they have a
	// destination, so each of them costs a notification.
	Messages bool
	// Streams are calls of socket(2) for TCP over IPv4 or IPv6.
	Streams bool
	// NoIOURing makes io_uring_setup(2) fail with ENOSYS, because operations in such a
	// ring pass every filter.
	NoIOURing bool
}

// Offsets in struct seccomp_data (linux/seccomp.h), which is what a filter reads.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// x32Bit marks the system calls of the x32 interface, which share the
// architecture's number with those of 64 bits (asm/unistd.h).
const x32Bit = 0x40000000

// program returns the filter. The code for each call ends with a verdict, so that no
// jump leads beyond it.
func (c Calls) program() []bpf.Instruction {
	allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	notify := bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nativeArch, SkipTrue: 1},
		allow,
		bpf.LoadAbsolute{Off: offNr, Size: 4},
	}
	if nativeArch == unix.AUDIT_ARCH_X86_64 {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: x32Bit, SkipTrue: 1}, allow)
	}
	on := func(nr uint32, body ...bpf.Instruction) {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: uint8(len(body))})
		p = append(p, body...)
	}
	if c.Connect {
		on(unix.SYS_CONNECT, notify)
		on(unix.SYS_SENDTO, // a destination address is in args[4]
			bpf.LoadAbsolute{Off: arg(4), Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 3},
			bpf.LoadAbsolute{Off: arg(4) + 4, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 1},
			allow, notify)
	}
	if c.Messages {
		on(unix.SYS_SENDMSG, notify)
		on(unix.SYS_SENDMMSG, notify)
	}
	if c.Streams {
		on(unix.SYS_SOCKET,
			bpf.LoadAbsolute{Off: arg(0), Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 1},
			allow,
			bpf.LoadAbsolute{Off: arg(1), Size: 4},
			bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: typeMask},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipTrue: 1},
			allow,
			bpf.LoadAbsolute{Off: arg(2), Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_TCP, SkipTrue: 1},
			allow, notify)
	}
	if c.NoIOURing {
		on(unix.SYS_IO_URING_SETUP, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	}
	return append(p, allow)
}

// typeMask removes SOCK_NONBLOCK and SOCK_CLOEXEC from a socket's type (SOCK_TYPE_MASK,
// linux/net.h).
const typeMask = 0xf

// arg returns the offset of an argument's lower half. All architectures with an arch
// file are little-endian.
func arg(i uint32) uint32 { return offArgs + 8*i }

// assemble returns the filter in the kernel's form.
func (c Calls) assemble() ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble(c.program())
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}
