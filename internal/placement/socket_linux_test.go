package placement

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Sockets are told apart as socket(2) has made them.
func TestInspect(t *testing.T) {
	own, err := ownNetns()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name                  string
		family, typ, protocol int
		err                   error
		v6                    bool
		isType, isProtocol    int
	}{
		{"TCP", unix.AF_INET, unix.SOCK_STREAM, 0, nil, false, unix.SOCK_STREAM, unix.IPPROTO_TCP},
		{"TCP over IPv6", unix.AF_INET6, unix.SOCK_STREAM, 0, nil, true, unix.SOCK_STREAM, unix.IPPROTO_TCP},
		{"Multipath TCP", unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, nil, true, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		{"UDP", unix.AF_INET, unix.SOCK_DGRAM, 0, nil, false, unix.SOCK_DGRAM, unix.IPPROTO_UDP},
		{"UDP-Lite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, nil, false, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE},
		{"raw, with the number of TCP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP, errKind, false, 0, 0},
		{"raw, with the number of UDP", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP, errKind, false, 0, 0},
		{"SCTP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP, errKind, false, 0, 0},
		{"packets", unix.AF_PACKET, unix.SOCK_RAW, 0, errKind, false, 0, 0},
		{"virtual machines", unix.AF_VSOCK, unix.SOCK_STREAM, 0, errKind, false, 0, 0},
		{"Unix", unix.AF_UNIX, unix.SOCK_STREAM, 0, errNoSocket, false, 0, 0},
		{"netlink", unix.AF_NETLINK, unix.SOCK_RAW, 0, errNoSocket, false, 0, 0},
		{"crypto, which has no addresses", unix.AF_ALG, unix.SOCK_SEQPACKET, 0, errNoSocket, false, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, err := unix.Socket(tt.family, tt.typ|unix.SOCK_CLOEXEC, tt.protocol)
			if err != nil {
				t.Skipf("needs a socket of this kind: %v", err)
			}
			defer func() { _ = unix.Close(fd) }()
			s, err := inspect(fd)
			if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err == nil && (s.v6 != tt.v6 || s.typ != tt.isType || s.protocol != tt.isProtocol || !s.closed || s.netns != own || s.cookie == 0 || fixed(s.source.Addr())) {
				t.Errorf("%+v", s)
			}
		})
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pipe[0]), unix.Close(pipe[1]) }()
	if _, err := inspect(pipe[0]); !errors.Is(err, errNoSocket) {
		t.Errorf("a pipe: %v", err)
	}
}

// A socket that connects, or listens, is not closed.
func TestInspectState(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	if s, err := inspect(fd); err != nil || s.closed || !s.source.Addr().IsLoopback() || s.source.Port() == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
