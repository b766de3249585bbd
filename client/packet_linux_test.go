package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// udpServer tells where datagrams come from.
func udpServer(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestListenPacket(t *testing.T) {
	s := udpServer(t)
	_, port, _ := net.SplitHostPort(s.LocalAddr().String())
	m := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.7", "127.0.0.8"))
	for _, tt := range []struct {
		name, network, address string
		want                   string // source
		remote                 string
	}{
		{"an address", "udp", "127.0.0.1:" + port, "127.0.0.7", "127.0.0.1:" + port},
		{"a name", "udp4", "service.test:" + port, "127.0.0.7", "127.0.0.1:" + port},
		{"anywhere", "udp", "", "127.0.0.7", "invalid AddrPort"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(t, m.Path)
			d.Intents = intent.Set{}.WithCategory(intent.CategoryStream)
			c, err := d.ListenPacket(t.Context(), tt.network, tt.address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if c.Remote().String() != tt.remote || c.Info().Source.String() != tt.want || !c.Info().Decided || c.Info().ID.IsZero() || c.Info().Candidate != FirstChoice {
				t.Errorf("remote %v, %+v", c.Remote(), c.Info())
			}
			msg := []byte("hello")
			for _, write := range []func() (int, error){
				func() (int, error) { return c.WriteTo(msg, s.LocalAddr()) },
				func() (int, error) { return c.WriteToUDP(msg, s.LocalAddr().(*net.UDPAddr)) },
				func() (int, error) {
					return c.WriteToUDPAddrPort(msg, s.LocalAddr().(*net.UDPAddr).AddrPort())
				},
				func() (int, error) {
					n, _, err := c.WriteMsgUDP(msg, nil, s.LocalAddr().(*net.UDPAddr))
					return n, err
				},
				func() (int, error) {
					n, _, err := c.WriteMsgUDPAddrPort(msg, nil, s.LocalAddr().(*net.UDPAddr).AddrPort())
					return n, err
				},
			} {
				if n, err := write(); n != len(msg) || err != nil {
					t.Fatal(n, err)
				}
				b := make([]byte, 10)
				n, from, err := s.ReadFromUDPAddrPort(b)
				if err != nil || string(b[:n]) != "hello" || from.Addr().String() != tt.want {
					t.Errorf("%q from %v, %v", b[:n], from, err)
				}
			}
			if c.Interface() != "lo" {
				t.Errorf("on %q", c.Interface())
			}
		})
	}
	last := m.Requests()[len(m.Requests())-1]
	if c, _ := last.Intents().Category(); last.Context.Type != wire.SockDgram || c != intent.CategoryStream {
		t.Errorf("asked %+v", last.Context)
	}
}

// An address that cannot be bound gives way to the next candidate, and the manager's
// absence to a plain socket, unless that is forbidden.
func TestListenPacketFallsBack(t *testing.T) {
	m := rawmanager.Start(t, "", false, rawmanager.Suggest("192.0.2.1", "127.0.0.8"))
	c, err := dialer(t, m.Path).ListenPacket(t.Context(), "udp", "192.0.2.77:9")
	if err != nil {
		t.Fatal(err)
	}
	if i := c.Info(); i.Source.String() != "127.0.0.8" || i.Candidate != 1 || len(i.Attempts) != 1 || !errors.Is(i.Attempts[0].Err, syscall.EADDRNOTAVAIL) {
		t.Errorf("%+v", i)
	}
	_ = c.Close()
	absent := dialer(t, t.TempDir()+"/none")
	for _, address := range []string{"127.0.0.1:9", ""} {
		if c, err = absent.ListenPacket(t.Context(), "udp", address); err != nil {
			t.Fatal(err)
		}
		if i := c.Info(); i.Decided || !errors.Is(i.Err, fs.ErrNotExist) || i.Candidate != PlainDial {
			t.Errorf("%q: %+v", address, i)
		}
		_ = c.Close()
	}
	absent.Selection = SelectionProperties{}.WithInterface("wlan0", Require)
	for _, address := range []string{"192.0.2.1:9", ""} {
		if _, err := absent.ListenPacket(t.Context(), "udp", address); !errors.Is(err, ErrNotPermitted) {
			t.Errorf("%q: %v, want it not permitted", address, err)
		}
	}
	for _, network := range []string{"tcp", "udp5", "", "unixgram"} {
		if _, err := absent.ListenPacket(t.Context(), network, "127.0.0.1:9"); err == nil {
			t.Errorf("%q is a network for datagrams", network)
		}
	}
}

// Errors of a network that is gone are loss; what the caller did wrong is an error.
func TestSendErrors(t *testing.T) {
	c, err := ListenPacket(t.Context(), "udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for errno, loss := range map[syscall.Errno]bool{
		syscall.ENETDOWN: true, syscall.ENETUNREACH: true, syscall.EHOSTUNREACH: true, syscall.ENODEV: true, syscall.EPERM: true, syscall.EADDRNOTAVAIL: true,
		syscall.EMSGSIZE: false, syscall.EIO: false, syscall.EINVAL: false, syscall.EBADF: false,
	} {
		lost := c.Path().Lost
		err := fmt.Errorf("write: %w", os.NewSyscallError("sendmsg", errno))
		if got := c.sent(err); (got == nil) != loss {
			t.Errorf("%v: %v", errno, got)
		}
		p := c.Path()
		if (p.Lost > lost) != loss || loss && (p.State != NetworkSuspect || !errors.Is(p.Err, errno)) {
			t.Errorf("%v: %+v", errno, p)
		}
		if err := c.sent(nil); err != nil || c.Path().State != NetworkUp {
			t.Errorf("after %v: %+v", errno, c.Path())
		}
	}
}

// The channel has what the manager says about the socket's network, and of better ones,
// the latest only, and ends with the socket.
func TestPacketChanges(t *testing.T) {
	m := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.7"))
	lo := wire.Network{
		Interface: "lo", Index: 1, Prefix: netip.MustParsePrefix("127.0.0.0/8"), Flags: wire.NetworkOffered, Cost: wire.Cost{Left: wire.NoBudget}, Reason: "no answer",
	}
	other := eth
	other.Flags = wire.NetworkOffered
	m.SetNetworks([]wire.Network{lo, other})
	c, err := dialer(t, m.Path).ListenPacket(t.Context(), "udp4", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, is func(Path) bool) {
		t.Helper()
		for p := range c.Changes() {
			if is(p) {
				return
			}
		}
		t.Fatalf("the channel ends without: %s", what)
	}
	await("up", func(p Path) bool { return p.State == NetworkUp && p.Network.Interface == "lo" && !p.Better })
	if p := c.Path(); p.Best.Interface != "lo" {
		t.Errorf("%+v", p)
	}
	if a := m.ListedFor().Context; a.Type != wire.SockDgram || a.Domain != wire.AFInet || a.Hostname != "127.0.0.1" || a.Service != "9" || a.Remote.AddrPort != c.Remote() {
		t.Errorf("networks for %+v", a)
	}
	down := lo
	down.Health = wire.PathDown
	m.SetNetworks([]wire.Network{other, down})
	await("down", func(p Path) bool {
		return p.State == NetworkDown && p.Err != nil && p.Better && p.Best.Interface == "eth0"
	})
	m.SetNetworks([]wire.Network{lo, other})
	await("up again", func(p Path) bool { return p.State == NetworkUp && p.Err == nil && !p.Better })
	_ = c.sent(syscall.ENETDOWN)
	await("in doubt", func(p Path) bool { return p.State == NetworkSuspect })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range c.Changes() {
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// A socket that had to be on one network is told of others that are better all the same, if
// the program says by what to judge.
func TestPacketSelection(t *testing.T) {
	m := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.7"))
	other := eth
	other.Flags = wire.NetworkOffered
	m.SetNetworks([]wire.Network{other})
	ctx := WithSelection(t.Context(), SelectionProperties{}.WithInterface("lo", Require))
	for _, own := range []bool{false, true} {
		c, err := dialer(t, m.Path).ListenPacket(ctx, "udp4", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		want := "require interface lo"
		if own {
			c.SetSelection(SelectionProperties{}.WithCost(CostExpensive, Avoid))
			want = "avoid cost expensive"
		}
		for p := range c.Changes() {
			if p.Better && p.Best.Interface == "eth0" {
				break
			}
		}
		if got := wire.SelectionText(m.ListedFor().Selection); got != want {
			t.Errorf("networks by %q, want %q", got, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What QUIC implementations do to a socket works: one write has several segments, and the
// marks of ECN arrive, through the raw descriptor, too.
func TestPacketOffload(t *testing.T) {
	s := udpServer(t)
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	m := rawmanager.Start(t, "", false, rawmanager.Suggest("127.0.0.7"))
	c, err := dialer(t, m.Path).ListenPacket(t.Context(), "udp4", s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var _ interface { // quic-go looks for these
		SyscallConn() (syscall.RawConn, error)
		SetReadBuffer(int) error
		ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
		WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	} = c
	const ect0 = 2
	message := func(level, typ int32, value []byte) []byte {
		b := make([]byte, unix.CmsgSpace(len(value)))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = level, typ
		h.SetLen(unix.CmsgLen(len(value)))
		copy(b[unix.CmsgLen(0):], value)
		return b
	}
	oob := append(message(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, 1000)),
		message(unix.IPPROTO_IP, unix.IP_TOS, binary.NativeEndian.AppendUint32(nil, ect0))...)
	if n, oobn, err := c.WriteMsgUDP(make([]byte, 2500), oob, s.LocalAddr().(*net.UDPAddr)); n != 2500 || oobn != len(oob) || err != nil {
		t.Fatalf("%d, %d, %v", n, oobn, err)
	}
	for _, want := range []int{1000, 1000, 500} {
		b, control := make([]byte, 3000), make([]byte, 128)
		n, oobn, _, _, err := s.ReadMsgUDP(b, control)
		if err != nil {
			t.Fatal(err)
		}
		list, err := unix.ParseSocketControlMessage(control[:oobn])
		if n != want || err != nil || len(list) != 1 || list[0].Header.Type != unix.IP_TOS || list[0].Data[0] != ect0 {
			t.Errorf("%d bytes, %+v, %v", n, list, err)
		}
	}
}
