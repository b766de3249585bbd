package proxy

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

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
		if want := (caller{known: true, uid: uint32(os.Getuid()), pid: os.Getpid(), executable: exe}); got != want {
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
	if got := callerOf(&socks.Request{Client: netip.MustParseAddrPort("192.0.2.1:1"), Listener: netip.MustParseAddrPort("127.0.0.1:1")}); got.known {
		t.Errorf("%+v", got)
	}
}
