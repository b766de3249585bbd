package pathstat

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policy"
)

// scribe is a Watcher that writes down the calls.
type scribe struct {
	said      []string
	following bool
	figures   bool            // the lines have figures
	wants     map[uint64]bool // cookies of connections whose figures are wanted at each pass
}

func (s *scribe) Following() bool { return s.following }

func (s *scribe) Begin() { s.said = append(s.said, "begin") }
func (s *scribe) Connection(over policy.PrefixID, c *Connection) bool {
	said := fmt.Sprintf("%s %v>%v %d:%d", over.Interface, c.Local, c.Remote, c.UID, c.Inode)
	if s.figures {
		said += fmt.Sprintf(" %d bytes, old: %t", c.Received, c.Age > 0)
	}
	s.said = append(s.said, said)
	return s.wants[c.Cookie]
}
func (s *scribe) Ended(over policy.PrefixID, c *Connection) {
	s.said = append(s.said, fmt.Sprintf("ended %s %v>%v %d bytes", over.Interface, c.Local, c.Remote, c.Received))
}
func (s *scribe) End(_ time.Time, complete bool) {
	s.said = append(s.said, fmt.Sprintf("end %t", complete))
}
func (s *scribe) Fail() { s.said = append(s.said, "fail") }

// A Watcher hears of every connection of each pass, with its owner, and of failures and
// passes that begin again.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scribe{}
		b := start(t, Options{Watcher: s, MaxInterval: -1}, nil)
		b.Set([]Prefix{{
			ID:    policy.PrefixID{Interface: "wlan0", Prefix: netip.MustParsePrefix("10.0.1.0/24")},
			Index: 2, Addrs: []netip.Addr{netip.MustParseAddr("10.0.1.2")},
		}})
		c := conn("10.0.1.2", "192.0.2.1", 10, 5)
		c.LocalPort, c.RemotePort, c.UID, c.Inode = 4711, 80, 1000, 77
		b.kernel.sockets = []tcpSocket{c, conn("10.9.9.9", "192.0.2.1", 10, 5)}
		heard := func(want ...string) {
			t.Helper()
			s.said = nil
			b.wait(DefaultInterval)
			if got := strings.Join(s.said, ", "); got != strings.Join(want, ", ") {
				t.Errorf("%s, want %s", got, strings.Join(want, ", "))
			}
		}
		const one = "wlan0 10.0.1.2:4711>192.0.2.1:80 1000:77"
		b.wait(DefaultInterval)
		heard("begin", one, "end true")
		gone := c
		gone.BytesReceived = 3000
		b.kernel.ended = []tcpSocket{gone, conn("10.9.9.9", "192.0.2.1", 10, 5)}
		heard("ended wlan0 10.0.1.2:4711>192.0.2.1:80 3000 bytes", "begin", one, "end true")
		b.kernel.interrupted = 1
		heard("begin", one, "begin", one, "end true")
		b.kernel.interrupted = 2
		heard("begin", one, "begin", one, "end false")
		b.kernel.err = errors.New("no")
		heard("begin", one, "fail")
	})
}

// The kernel names the owner and the ports of a connection, and what has come over it. It
// names no file for a closed one.
func TestOwnersOfKernel(t *testing.T) {
	local := netip.MustParseAddr("127.93.0.1")
	p := connect(t, "tcp4", "127.93.0.1:0", "127.93.0.1", 1)[0]
	if _, err := p.client.Write(make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p.server, make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	raw, err := p.server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var file syscall.Stat_t
	if err := errors.Join(raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &file) }), err); err != nil {
		t.Fatal(err)
	}
	want := Connection{
		Local: p.server.LocalAddr().(*net.TCPAddr).AddrPort(), Remote: p.server.RemoteAddr().(*net.TCPAddr).AddrPort(),
		UID: uint32(os.Geteuid()), Inode: uint32(file.Ino), Received: 3000,
	}
	if want.Cookie, err = cookieOf(raw); err != nil {
		t.Fatal(err)
	}
	r := newDiagSockets()
	t.Cleanup(func() { _ = r.Close() })
	read := func() (list []Connection) {
		t.Helper()
		_, err := r.Read([]netip.Addr{local}, func() { list = nil }, func(s *tcpSocket) {
			if c := s.connection(); c.Local.Addr() == local {
				list = append(list, c)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	got := read()
	if len(got) == 1 {
		if c := &got[0]; c.Silent < 0 || c.Silent > time.Minute || c.MinRTT <= 0 || c.RTT < c.MinRTT {
			t.Errorf("times: %+v", c)
		}
		got[0].Silent, got[0].RTT, got[0].MinRTT = 0, 0, 0
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// The other side is still open: the state is FIN_WAIT1, or FIN_WAIT2, which the kernel
	// soon keeps as TIME_WAIT.
	_ = p.server.Close()
	if got = read(); len(got) > 1 || len(got) == 1 && got[0].Inode != 0 {
		t.Errorf("closed: %+v", got)
	}
}

// cookieOf returns SO_COOKIE of a socket.
func cookieOf(raw syscall.RawConn) (cookie uint64, err error) {
	failed := raw.Control(func(fd uintptr) { cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) })
	return cookie, errors.Join(failed, err)
}
