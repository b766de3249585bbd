package notify

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Calls are the system calls that a filter passes to its listener. All other calls go
// on as without a filter. So do all calls by another system call interface than the
// process's own, such as those of 32-bit programs on a 64-bit kernel, unless a field
// says otherwise.
type Calls struct {
	// Connect is connect(2), and sendto(2) with a destination: a first datagram,
	// or TCP Fast Open.
	Connect bool
	// Messages are sendmsg(2) and sendmmsg(2). A filter cannot see whether they have a
	// destination, so each of them costs a notification.
	Messages bool
	// Streams are calls of socket(2) for TCP over IPv4 or IPv6.
	Streams bool
	// NoIOURing makes io_uring_setup(2) and its like fail with ENOSYS, because operations
	// in such a ring pass every filter.
	NoIOURing bool
	// Others are further calls by which data could leave unseen. They are calls of
	// socket(2) for sockets other than TCP, UDP, Unix, netlink and crypto; all calls of
	// socket(2) by the interface for programs of 32 bits; and calls of setsockopt(2)
	// for options that choose an interface or a route, or join a group, which the kernel
	// tells the routers of a network.
	Others bool
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

// Verdicts.
var (
	allow  = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	notify = bpf.RetConstant{Val: unix.SECCOMP_RET_USER_NOTIF}
	enosys = bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
)

// code is a filter that is being written. Each piece for a call ends with a verdict, so
// that no jump leads beyond it.
type code []bpf.Instruction

// on adds what is done about a call.
func (p *code) on(nr uint32, body ...bpf.Instruction) { *p = append(*p, when(nr, body...)...) }

// when returns code that is carried out if the loaded value is v.
func when(v uint32, body ...bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: uint8(len(body))}}, body...)
}

// each returns the same verdict for several values.
func each(verdict bpf.Instruction, values ...uint32) (list []bpf.Instruction) {
	for _, v := range values {
		list = append(list, when(v, verdict)...)
	}
	return list
}

func load(offset uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offset, Size: 4} }

// join puts pieces together.
func join(pieces ...[]bpf.Instruction) (list []bpf.Instruction) {
	for _, p := range pieces {
		list = append(list, p...)
	}
	return list
}

func one(i ...bpf.Instruction) []bpf.Instruction { return i }

// program returns the filter.
func (c Calls) program() []bpf.Instruction {
	foreign := c.foreign()
	p := code{load(offArch), bpf.JumpIf{Cond: bpf.JumpEqual, Val: nativeArch, SkipTrue: uint8(len(foreign))}}
	p = append(p, foreign...)
	p = append(p, load(offNr))
	if nativeArch == unix.AUDIT_ARCH_X86_64 {
		x32 := one(allow)
		if c.Others {
			x32 = join(each(notify, x32Bit|unix.SYS_SOCKET), x32)
		}
		if c.NoIOURing {
			x32 = join(each(enosys, x32Bit|unix.SYS_IO_URING_SETUP, x32Bit|unix.SYS_IO_URING_ENTER, x32Bit|unix.SYS_IO_URING_REGISTER), x32)
		}
		p = append(p, bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: x32Bit, SkipTrue: uint8(len(x32))})
		p = append(p, x32...)
	}
	if c.Connect {
		p.on(unix.SYS_CONNECT, notify)
		p.on(unix.SYS_SENDTO, // a destination address is in args[4]
			load(arg(4)),
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 3},
			load(arg(4)+4),
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 1},
			allow, notify)
	}
	if c.Messages {
		p.on(unix.SYS_SENDMSG, notify)
		p.on(unix.SYS_SENDMMSG, notify)
	}
	if c.Streams || c.Others {
		p.on(unix.SYS_SOCKET, c.sockets()...)
	}
	if c.Others {
		p.on(unix.SYS_SETSOCKOPT, options()...)
	}
	if c.NoIOURing {
		for _, nr := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER} {
			p.on(nr, enosys)
		}
	}
	return append(p, allow)
}

// i386Socketcall is socketcall(2), by which programs of 32 bits for x86 make sockets,
// and socketcallSocket its first argument then (linux/net.h).
const (
	i386Socketcall   = 102
	socketcallSocket = 1
)

// foreign is carried out for calls by other interfaces, when the architecture is loaded.
func (c Calls) foreign() []bpf.Instruction {
	var body []bpf.Instruction
	if c.Others && otherArch != 0 {
		body = append(body, each(notify, otherSocket)...)
		if otherArch == unix.AUDIT_ARCH_I386 {
			body = append(body, when(i386Socketcall, join(one(load(arg(0))), each(notify, socketcallSocket), one(allow))...)...)
		}
	}
	if c.NoIOURing { // these have the same numbers everywhere
		body = append(body, each(enosys, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER)...)
	}
	if len(body) == 0 {
		return one(allow)
	}
	return join(when(otherArch, join(one(load(offNr)), body, one(allow))...), one(allow))
}

// sockets is carried out for socket(2).
func (c Calls) sockets() []bpf.Instruction {
	other, tcp := one(allow), one(allow)
	if c.Others {
		other = one(notify)
	}
	if c.Streams {
		tcp = one(notify)
	}
	stream := join(one(load(arg(2))), each(tcp[0], 0, unix.IPPROTO_TCP), other)
	datagram := join(one(load(arg(2))), each(allow, 0, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE), other)
	family := join(
		one(load(arg(0))), each(allow, unix.AF_UNIX, unix.AF_NETLINK, unix.AF_ALG),
		one(bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET, SkipTrue: 2}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_INET6, SkipTrue: 1}), other,
	)
	return join(
		family, one(load(arg(1)), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: TypeMask}),
		when(unix.SOCK_STREAM, stream...), when(unix.SOCK_DGRAM, datagram...), other,
	)
}

// options is carried out for setsockopt(2).
func options() []bpf.Instruction {
	level := func(n uint32, names ...uint32) []bpf.Instruction {
		return when(n, join(one(load(arg(2))), each(notify, names...), one(allow))...)
	}
	return join(
		one(load(arg(1))),
		level(unix.SOL_SOCKET, unix.SO_BINDTODEVICE, unix.SO_BINDTOIFINDEX, unix.SO_MARK),
		level(unix.IPPROTO_IP, append([]uint32{unix.IP_UNICAST_IF, unix.IP_OPTIONS, unix.IP_ADD_MEMBERSHIP, unix.IP_ADD_SOURCE_MEMBERSHIP}, joins...)...),
		level(unix.IPPROTO_IPV6, append([]uint32{unix.IPV6_UNICAST_IF, unix.IPV6_PKTINFO, unix.IPV6_RTHDR, IPv6PktOptions2292, IPv6FlowLabelMgr, unix.IPV6_JOIN_GROUP, unix.IPV6_JOIN_ANYCAST}, joins...)...),
		one(allow),
	)
}

// Options of IPv6 that package unix lacks (linux/in6.h). The first sets what control data of
// messages do, for all messages; the second makes flow labels, to which a routing header can
// belong.
const (
	IPv6PktOptions2292 = 6
	IPv6FlowLabelMgr   = 32
)

// joins are the options that join a group of either family (RFC 3678).
var joins = []uint32{unix.MCAST_JOIN_GROUP, unix.MCAST_JOIN_SOURCE_GROUP}

// TypeMask removes SOCK_NONBLOCK and SOCK_CLOEXEC from a socket's type (SOCK_TYPE_MASK,
// linux/net.h).
const TypeMask = 0xf

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
