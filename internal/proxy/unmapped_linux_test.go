package proxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/socket-intents/mamma/internal/rules"
	"github.com/socket-intents/mamma/internal/sockdiag"
	"github.com/socket-intents/mamma/internal/testing/unmapped"
	"github.com/socket-intents/mamma/socks"
)

// In a container's user namespace, all users without an id there look alike. A rule for one
// of them lets none of them in, and none of them can send through another one's
// association.
func TestCallersWithoutID(t *testing.T) {
	unmapped.Run(t, func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		r := &socks.Request{Client: c.LocalAddr().(*net.TCPAddr).AddrPort(), Listener: netip.MustParseAddrPort(l.Addr().String())}
		if got := callerOf(r); got != (rules.Caller{}) {
			t.Errorf("by TCP: %+v", got)
		}
		relay, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		sender, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if uid, err := senderOf(t, sender.LocalAddr().(*net.UDPAddr).AddrPort(), relay.LocalAddr().(*net.UDPAddr).AddrPort()); err == nil {
			t.Errorf("datagrams are of user %d", uid)
		}
		list := []sockdiag.Bound{{Socket: sockdiag.Socket{UID: unmapped.UID, Inode: 1}, Local: netip.IPv4Unspecified()}}
		if uid, err := onlyOwner(list, netip.MustParseAddrPort("127.0.0.1:9")); !errors.Is(err, errOutside) {
			t.Errorf("a port is that of user %d, %v", uid, err)
		}
		ul, err := net.Listen("unix", "@mamma-test-"+strconv.Itoa(os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("unix", ul.Addr().String()); err != nil {
			t.Fatal(err)
		}
		s, err := ul.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := callerOf(&socks.Request{Unix: true, Conn: s}); got != (rules.Caller{}) {
			t.Errorf("by a Unix socket: %+v", got)
		}
	})
}
