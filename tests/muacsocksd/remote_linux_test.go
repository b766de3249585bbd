package muacsocksd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/socket-intents/mamma/internal/testing/testbed"
	"github.com/socket-intents/mamma/tests/internal/stage"
)

// At these addresses the proxy serves other hosts, and this host has a service of its own.
const (
	openAddress = "10.1.0.2:9051"
	ownPort     = 7777
)

// startOpen starts a proxy, without a manager, at the address in wlan0.
func startOpen(t *testing.T, bed *testbed.Bed, rules string) {
	t.Helper()
	startAt(t, bed, openAddress, rules)
}

// startAt starts the proxy at another address.
func startAt(t *testing.T, bed *testbed.Bed, address, rules string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "socks.conf")
	if err := os.WriteFile(conf, []byte("listen = [\""+address+"\"]\n"+rules), 0o600); err != nil {
		t.Fatal(err)
	}
	p := stage.Launch(t, bed.Client, exec.Command(filepath.Join(bin, "muacsocksd"), "--socket", filepath.Join(dir, "none"), "--config", conf))
	p.Log.Await(t, "msg=listening", 1)
}

// socks5 makes a request of a client beyond wlan0, and returns the reply and the address in
// it.
func socks5(t *testing.T, bed *testbed.Bed, command byte, to netip.AddrPort) (c net.Conn, reply byte, bound netip.AddrPort) {
	t.Helper()
	c, err := inside{bed.Networks[0].Server.Namespace}.Dial("tcp", openAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(append([]byte{5, 1, 0, 5, command, 0}, socksAddress(to)...)); err != nil {
		t.Fatal(err)
	}
	var b [12]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Fatalf("%v: reply %x, %v", to, b, err)
	}
	return c, b[3], netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[6:10])), uint16(b[10])<<8|uint16(b[11]))
}

// socksAddress encodes an IPv4 address as in messages of SOCKS 5.
func socksAddress(a netip.AddrPort) []byte {
	return append(append([]byte{1}, a.Addr().AsSlice()...), byte(a.Port()>>8), byte(a.Port()))
}

// A client on another host that a rule lets in reaches other hosts. It reaches this host at
// none of its addresses, and no group address, neither by TCP nor by UDP.
func TestRemoteClient(t *testing.T) {
	const everywhere = "rule \"lan\" {\n  action = \"allow\"\n  client = [\"10.1.0.0/24\"]\n}\n"
	const notAllowed = 2
	bed := testbed.ForTest(t, testbed.Config{Networks: []testbed.NetworkConfig{{Name: "wlan0"}, {Name: "wwan0"}}})
	own, err := bed.Client.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", ownPort))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	ownUDP, err := bed.Client.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", ownPort))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ownUDP.Close() }()
	service := netip.AddrPortFrom(testbed.ServiceAddr4, 80)
	forbidden := []netip.AddrPort{}
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.0.2", "10.2.0.2", "10.1.0.255", "10.2.0.255", "255.255.255.255", "224.0.0.251"} {
		forbidden = append(forbidden, netip.AddrPortFrom(netip.MustParseAddr(a), ownPort))
	}

	t.Run("by a rule for everything", func(t *testing.T) {
		startOpen(t, bed, everywhere)
		if _, reply, _ := socks5(t, bed, 1, service); reply != 0 {
			t.Errorf("the service: reply %d", reply)
		}
		for _, to := range forbidden {
			if _, reply, _ := socks5(t, bed, 1, to); reply != notAllowed {
				t.Errorf("%v: reply %d", to, reply)
			}
		}
		_, reply, relay := socks5(t, bed, 3, netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
		if reply != 0 {
			t.Fatalf("an association: reply %d", reply)
		}
		u, err := inside{bed.Networks[0].Server.Namespace}.Dial("udp", relay.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = u.Close() }()
		for _, to := range forbidden {
			if _, err := u.Write(append([]byte{0, 0, 0}, append(socksAddress(to), "stray"...)...)); err != nil {
				t.Fatal(err)
			}
		}
		// Datagrams of an association are sent in their order. When this one is answered,
		// all earlier ones have been sent or dropped.
		q, err := new(dns.Msg).SetQuestion("www.example.net.", dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if err := u.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(append([]byte(serviceHeader), q...)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1500)
		if n, err := u.Read(b); err != nil || !bytes.HasPrefix(b[:n], []byte(serviceHeader)) {
			t.Fatalf("%x, %v", b[:n], err)
		}
		// A datagram that had come before would be read before this one.
		end, err := inside{bed.Client}.Dial("udp", fmt.Sprintf("127.0.0.1:%d", ownPort))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = end.Close() }()
		if _, err := end.Write([]byte("end")); err != nil {
			t.Fatal(err)
		}
		if err := ownUDP.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, from, err := ownUDP.ReadFrom(b); err != nil || string(b[:n]) != "end" {
			t.Errorf("this host has got %q from %v, %v", b[:n], from, err)
		}
	})
	t.Run("by a rule that names an address", func(t *testing.T) {
		startOpen(t, bed, "rule \"own\" {\n  action = \"allow\"\n  destination = [\"10.2.0.2\"]\n  port = [\""+fmt.Sprint(ownPort)+"\"]\n}\n"+everywhere)
		for _, to := range forbidden {
			want := byte(notAllowed)
			if to.Addr().String() == "10.2.0.2" {
				want = 0
			}
			if _, reply, _ := socks5(t, bed, 1, to); reply != want {
				t.Errorf("%v: reply %d, want %d", to, reply, want)
			}
		}
	})
}
