package proxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/internal/process/unixsocket"
	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/internal/sockdiag"
	"github.com/socket-intents/mamma/internal/testing/pidreuse"
	"github.com/socket-intents/mamma/internal/testing/required"
	"github.com/socket-intents/mamma/socks"
)

func TestCallerOfThisProcess(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Logf("%s: %v", addr, err)
			continue
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got := callerOf(&socks.Request{
			Client:   c.LocalAddr().(*net.TCPAddr).AddrPort(),
			Listener: netip.MustParseAddrPort(l.Addr().String()),
		})
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if want := (rules.Caller{Known: true, UID: uint32(os.Getuid()), PID: os.Getpid(), Executable: exe}); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
		if got, want := got.String(), filepath.Base(exe); len(got) <= len(want) || got[:len(want)] != want {
			t.Errorf("shown as %q", got)
		}
		_ = c.Close()
		_ = l.Close()
	}
}

func TestCallerElsewhere(t *testing.T) {
	for client, want := range map[string]rules.Caller{
		"192.0.2.1:1": {Elsewhere: true},
		"127.0.0.1:1": {}, // no such socket, but it would be on this host
		"127.9.9.9:1": {},
		"[::1]:1":     {},
	} {
		if got := callerOf(&socks.Request{Client: netip.MustParseAddrPort(client), Listener: netip.MustParseAddrPort("127.0.0.1:1")}); got != want {
			t.Errorf("%s: %+v, want %+v", client, got, want)
		}
	}
}

// A socket that was closed right after sending has no owner. The sender is not taken for
// root.
func TestCallerIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	s, err := l.Accept() // not closed yet: the client's socket is in FIN-WAIT-2
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	got := callerOf(&socks.Request{Client: c.LocalAddr().(*net.TCPAddr).AddrPort(), Listener: netip.MustParseAddrPort(l.Addr().String())})
	if got != (rules.Caller{}) {
		t.Errorf("%+v, want nothing to be known", got)
	}
}

// senderOf looks a port up about which nothing is known yet.
func senderOf(t *testing.T, from, to netip.AddrPort) (uid uint32, err error) {
	t.Helper()
	var s senders
	defer s.close()
	return s.of(from, to, new(portOwner))
}

// The user of a datagram's port is found, whether the socket is connected or not.
func TestSenderOf(t *testing.T) {
	for _, network := range []struct{ name, addr string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		relay, err := net.ListenPacket(network.name, network.addr)
		if err != nil {
			t.Logf("%s: %v", network.addr, err)
			continue
		}
		defer func() { _ = relay.Close() }()
		to := relay.LocalAddr().(*net.UDPAddr).AddrPort()
		open, err := net.ListenPacket(network.name, network.addr)
		if err != nil {
			t.Fatal(err)
		}
		connected, err := net.Dial(network.name, to.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []interface {
			LocalAddr() net.Addr
			Close() error
		}{open, connected} {
			from := c.LocalAddr().(*net.UDPAddr).AddrPort()
			if uid, err := senderOf(t, from, to); err != nil || uid != uint32(os.Getuid()) {
				t.Errorf("%v to %v: user %d, %v", from, to, uid, err)
			}
			_ = c.Close()
			if uid, err := senderOf(t, from, to); err == nil {
				t.Errorf("closed: user %d", uid)
			}
		}
	}
}

// If sockets of two users can send from an address, neither user is taken for the sender,
// whichever socket would get an answer.
func TestSenderOfASharedPort(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have a socket of another user")
	}
	relay, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = relay.Close() }()
	const other = 4711
	first := sharedPort(t, "0.0.0.0:0", 0)
	from := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), first.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	to := relay.LocalAddr().(*net.UDPAddr).AddrPort()
	if uid, err := senderOf(t, from, to); err != nil || uid != 0 {
		t.Errorf("alone: user %d, %v", uid, err)
	}
	for _, address := range []netip.Addr{from.Addr(), netip.IPv4Unspecified()} {
		second := sharedPort(t, netip.AddrPortFrom(address, from.Port()).String(), other)
		if uid, err := senderOf(t, from, to); !errors.Is(err, errSeveral) {
			t.Errorf("beside %v of another user: user %d, %v", address, uid, err)
		}
		_ = second.Close()
	}
	elsewhere := sharedPort(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), from.Port()).String(), other)
	defer func() { _ = elsewhere.Close() }()
	if uid, err := senderOf(t, from, to); err != nil || uid != 0 {
		t.Errorf("beside a socket that sends from elsewhere: user %d, %v", uid, err)
	}
}

// A list of sockets has one owner only if each of those that can send from the address has.
func TestOnlyOwner(t *testing.T) {
	from := netip.MustParseAddrPort("127.0.0.1:9")
	at := func(address string, uid, inode uint32) sockdiag.Bound {
		return sockdiag.Bound{Socket: sockdiag.Socket{UID: uid, Inode: inode}, Local: netip.MustParseAddr(address)}
	}
	for _, tt := range []struct {
		name string
		list []sockdiag.Bound
		uid  uint32
		err  error
	}{
		{"none", nil, 0, sockdiag.ErrNotFound},
		{"one", []sockdiag.Bound{at("127.0.0.1", 7, 1)}, 7, nil},
		{"one of all addresses", []sockdiag.Bound{at("0.0.0.0", 7, 1)}, 7, nil},
		{"two of a user", []sockdiag.Bound{at("127.0.0.1", 7, 1), at("::", 7, 2)}, 7, nil},
		{"two of two", []sockdiag.Bound{at("127.0.0.1", 7, 1), at("0.0.0.0", 8, 2)}, 0, errSeveral},
		{"another one elsewhere", []sockdiag.Bound{at("127.0.0.1", 7, 1), at("127.0.0.2", 8, 2)}, 7, nil},
		{"without an owner", []sockdiag.Bound{at("127.0.0.1", 0, 0)}, 0, errNoOwner},
		{"another one without an owner", []sockdiag.Bound{at("127.0.0.1", 7, 1), at("0.0.0.0", 0, 0)}, 0, errNoOwner},
	} {
		if uid, err := onlyOwner(tt.list, from); uid != tt.uid || !errors.Is(err, tt.err) {
			t.Errorf("%s: user %d, %v; want %d, %v", tt.name, uid, err, tt.uid, tt.err)
		}
	}
}

// A client at another address of this host is not taken for one on another host, though its
// process is not found.
func TestCallerAtAnotherAddressOfThisHost(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if ip = ip.Unmap(); ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		r := &socks.Request{Client: netip.AddrPortFrom(ip, 1), Listener: netip.AddrPortFrom(ip, 2)}
		if got := callerOf(r); got != (rules.Caller{}) {
			t.Errorf("%v: %+v", ip, got)
		}
		return
	}
	t.Skip("needs an address that is not a loopback address")
}

// If another user has a port now, it belongs to that user at once, whoever had it a moment
// ago. A socket that is known to be the only one of its port is not searched for again
// among all others.
func TestNextOwnerOfAPort(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have sockets of other users")
	}
	relay, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = relay.Close() }()
	const first, second = 4711, 4712
	c := sharedPort(t, "127.0.0.1:0", first)
	from, to := c.LocalAddr().(*net.UDPAddr).AddrPort(), relay.LocalAddr().(*net.UDPAddr).AddrPort()
	var s senders
	defer s.close()
	var last portOwner
	var looked time.Time
	for i, tt := range []struct {
		do  func()
		uid uint32
		err error
	}{
		{func() {}, first, nil},
		{func() {}, first, nil},
		{func() { _ = c.Close(); c = sharedPort(t, from.String(), second) }, second, nil},
		{func() { _ = c.Close(); c = sharedPort(t, from.String(), first) }, first, nil},
		{func() { _ = c.Close() }, 0, sockdiag.ErrNotFound},
		{func() { c = sharedPort(t, from.String(), second) }, second, nil},
	} {
		tt.do()
		if uid, err := s.of(from, to, &last); uid != tt.uid || !errors.Is(err, tt.err) {
			t.Errorf("%d: user %d, %v; want %d, %v", i, uid, err, tt.uid, tt.err)
		}
		if i == 0 {
			looked = last.looked
		}
		if i == 1 && !last.looked.Equal(looked) && time.Since(looked) < sharedEvery {
			t.Error("all sockets were looked at again")
		}
	}
	// A socket of another user beside it is seen when all sockets are looked at again, whichever
	// of them the kernel names.
	for _, address := range []netip.Addr{from.Addr(), netip.IPv4Unspecified()} {
		if _, err := s.of(from, to, &last); err != nil {
			t.Fatal(err)
		}
		beside := sharedPort(t, netip.AddrPortFrom(address, from.Port()).String(), first)
		last.looked = time.Now().Add(-sharedEvery)
		if uid, err := s.of(from, to, &last); !errors.Is(err, errSeveral) {
			t.Errorf("beside another user's at %v: user %d, %v", address, uid, err)
		}
		_ = beside.Close()
	}
	// It is seen at once if the socket itself is not the one that was known.
	if _, err := s.of(from, to, &last); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	for _, uid := range []int{second, first} {
		c := sharedPort(t, from.String(), uid)
		defer func() { _ = c.Close() }()
	}
	if uid, err := s.of(from, to, &last); !errors.Is(err, errSeveral) {
		t.Errorf("two in its place: user %d, %v", uid, err)
	}
}

// A process of another user that has the socket open, too, is not the one that asks.
func TestProcessOfAnotherUser(t *testing.T) {
	own := uint32(os.Geteuid())
	if p := processOf(own+1, os.Getpid()); p != nil {
		t.Error("this process is taken for another user's")
		p.Close()
	}
	p := processOf(own, os.Getpid())
	if p == nil {
		t.Fatal("this process is not found")
	}
	p.Close()
}

// sharedPort opens a socket of a user who lets others have the same address.
func sharedPort(t *testing.T, address string, uid int) net.PacketConn {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.SetfsuidRetUid(uid); err != nil { // of this thread
		t.Fatal(err)
	}
	defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	c, err := lc.ListenPacket(t.Context(), "udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A Unix socket tells who has connected to it.
func TestCallerByUnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := unixsocket.CheckPeerID(s.(*net.UnixConn), int32(os.Getpid())); errors.Is(err, errors.ErrUnsupported) {
		required.Lacking(t, "needs SO_PEERPIDFD (Linux 6.5): %v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := callerOf(&socks.Request{Unix: true, Conn: s}), (rules.Caller{Known: true, UID: uint32(os.Getuid()), PID: os.Getpid(), Executable: exe}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The id of a process that is gone may be another one's. That one has not asked.
func TestCallerWithTheIDOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if name := os.Getenv(connectTo); name != "" {
		if _, err := net.Dial("unix", name); err != nil {
			t.Fatal(err)
		}
		return
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	asks := exec.Command(os.Args[0], "-test.run=^TestCallerWithTheIDOfAnother$") // ends when it has connected
	asks.Env = append(os.Environ(), connectTo+"="+path)
	if out, err := asks.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	end, err := pidreuse.Start(asks.Process.Pid, "cat")
	switch {
	case errors.Is(err, pidreuse.ErrTaken):
		t.Logf("nobody of this user has the id: %v", err)
	case err != nil:
		required.Lacking(t, "needs CAP_CHECKPOINT_RESTORE, to choose the id of a process: %v", err)
	default:
		defer end()
	}
	if got, want := callerOf(&socks.Request{Unix: true, Conn: s}), (rules.Caller{Known: true, UID: uint32(os.Getuid())}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// connectTo is the variable that has a process of TestCallerWithTheIDOfAnother connect.
const connectTo = "MAMMA_TEST_CONNECT_TO"
