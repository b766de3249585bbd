package notify

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs the filter on a call. The machine of the bpf package reads big-endian words,
// as packets have them, but the kernel's seccomp reads the machine's own order. So the
// words are laid out for the package.
func verdict(t *testing.T, c Calls, arch uint32, nr uint32, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(c.program())
	if err != nil {
		t.Fatal(err)
	}
	var data [64]byte
	binary.BigEndian.PutUint32(data[offNr:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[arg(uint32(i)):], uint32(a))
		binary.BigEndian.PutUint32(data[arg(uint32(i))+4:], uint32(a>>32))
	}
	n, err := vm.Run(data[:])
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestFilter(t *testing.T) {
	if nativeArch == 0 {
		t.Skip("needs a filter for this architecture")
	}
	all := Calls{Connect: true, Messages: true, Streams: true, NoIOURing: true, Others: true}
	placed := Calls{Connect: true, Messages: true, NoIOURing: true, Others: true}
	const (
		allow  = unix.SECCOMP_RET_ALLOW
		notify = unix.SECCOMP_RET_USER_NOTIF
		enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
		stream = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	)
	for _, tt := range []struct {
		name  string
		calls Calls
		arch  uint32
		nr    uint32
		args  []uint64
		want  uint32
	}{
		{"connect", all, nativeArch, unix.SYS_CONNECT, nil, notify},
		{"connect, not asked for", Calls{Streams: true}, nativeArch, unix.SYS_CONNECT, nil, allow},
		{"connect of another architecture", all, unix.AUDIT_ARCH_PPC64, unix.SYS_CONNECT, nil, allow},
		{"something else", all, nativeArch, unix.SYS_READ, nil, allow},
		{"sendto a destination", all, nativeArch, unix.SYS_SENDTO, []uint64{3, 1, 1, 0, 0x7fff12345678, 16}, notify},
		{"sendto a destination at a round address", all, nativeArch, unix.SYS_SENDTO, []uint64{3, 1, 1, 0, 0x7fff00000000, 16}, notify},
		{"sendto without", all, nativeArch, unix.SYS_SENDTO, []uint64{3, 1, 1, 0, 0, 0}, allow},
		{"sendmsg", all, nativeArch, unix.SYS_SENDMSG, nil, notify},
		{"sendmmsg", all, nativeArch, unix.SYS_SENDMMSG, nil, notify},
		{"sendmsg, not asked for", Calls{Connect: true}, nativeArch, unix.SYS_SENDMSG, nil, allow},
		{"stream socket", all, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, 0}, notify},
		{"stream socket of IPv6", all, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP}, notify},
		{"datagram socket", all, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, 0}, allow},
		{"stream socket that is not to be another's", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, 0}, allow},
		{"MPTCP by itself", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, unix.IPPROTO_MPTCP}, notify},
		{"MPTCP by itself, not asked for", Calls{Connect: true}, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, unix.IPPROTO_MPTCP}, allow},
		{"MPTCP beside streams", Calls{Streams: true}, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, unix.IPPROTO_MPTCP}, allow},
		{"SCTP", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, unix.IPPROTO_SCTP}, notify},
		{"packets in sequence", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_SEQPACKET, 0}, notify},
		{"UDP", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, unix.IPPROTO_UDP}, allow},
		{"UDP-Lite", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}, allow},
		{"ping", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, notify},
		{"raw", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP}, notify},
		{"raw, not asked for", Calls{Connect: true}, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP}, allow},
		{"packets", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_DGRAM, 0}, notify},
		{"SMC", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_SMC, stream, 0}, notify},
		{"netlink", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, allow},
		{"crypto", placed, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET, 0}, allow},
		{"bind to an interface", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_BINDTODEVICE}, notify},
		{"bind to an interface by its index", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX}, notify},
		{"mark", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_MARK}, notify},
		{"interface of IPv4", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, unix.IP_UNICAST_IF}, notify},
		{"interface of IPv6", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_IF}, notify},
		{"source of IPv6", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}, notify},
		{"source route of IPv4", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, unix.IP_OPTIONS}, notify},
		{"source route of IPv6", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_RTHDR}, notify},
		{"control data of IPv6", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, IPv6PktOptions2292}, notify},
		{"flow label of IPv6", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, IPv6FlowLabelMgr}, notify},
		{"join a group", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP}, notify},
		{"join a group of some senders", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, unix.IP_ADD_SOURCE_MEMBERSHIP}, notify},
		{"join a group of either family", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.MCAST_JOIN_GROUP}, notify},
		{"join a group of IPv6", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP}, notify},
		{"leave a group", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP}, allow},
		{"another option", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_REUSEADDR}, allow},
		{"an option of TCP", placed, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.SO_BINDTODEVICE}, allow},
		{"option, not asked for", Calls{Connect: true}, nativeArch, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_MARK}, allow},
		{"socket of 32 bits", placed, otherArch, otherSocket, []uint64{unix.AF_INET, stream, 0}, notify},
		{"socket of 32 bits, not asked for", Calls{Connect: true}, otherArch, otherSocket, []uint64{unix.AF_INET, stream, 0}, allow},
		{"something else of 32 bits", placed, otherArch, 4, nil, allow},
		{"io_uring of 32 bits", placed, otherArch, unix.SYS_IO_URING_SETUP, nil, enosys},
		{"io_uring, inherited", all, nativeArch, unix.SYS_IO_URING_ENTER, nil, enosys},
		{"io_uring's resources", all, nativeArch, unix.SYS_IO_URING_REGISTER, nil, enosys},
		{"Unix socket", all, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, stream, 0}, allow},
		{"stream socket, not asked for", Calls{Connect: true}, nativeArch, unix.SYS_SOCKET, []uint64{unix.AF_INET, stream, 0}, allow},
		{"io_uring", all, nativeArch, unix.SYS_IO_URING_SETUP, nil, enosys},
		{"io_uring allowed", Calls{Connect: true}, nativeArch, unix.SYS_IO_URING_SETUP, nil, allow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := verdict(t, tt.calls, tt.arch, tt.nr, tt.args...); got != tt.want {
				t.Errorf("%#x, want %#x", got, tt.want)
			}
		})
	}
	if nativeArch == unix.AUDIT_ARCH_X86_64 {
		if got := verdict(t, all, nativeArch, unix.SYS_CONNECT|x32Bit); got != allow {
			t.Errorf("x32: %#x", got)
		}
		if got := verdict(t, all, nativeArch, unix.SYS_SOCKET|x32Bit, unix.AF_INET); got != notify {
			t.Errorf("a socket by x32: %#x", got)
		}
		if got := verdict(t, all, nativeArch, unix.SYS_IO_URING_SETUP|x32Bit); got != enosys {
			t.Errorf("io_uring by x32: %#x", got)
		}
		for call, want := range map[uint64]uint32{socketcallSocket: notify, 3: allow} {
			if got := verdict(t, all, otherArch, i386Socketcall, call); got != want {
				t.Errorf("call %d of socketcall: %#x, want %#x", call, got, want)
			}
		}
	}
}
