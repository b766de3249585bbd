package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLookUps(t *testing.T) {
	p := newProxy(t, Config{
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			switch host {
			case "both.test":
				return []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, nil
			case "six.test":
				return []netip.Addr{netip.MustParseAddr("2001:db8::1")}, nil
			}
			return nil, &net.DNSError{Name: host, IsNotFound: true}
		},
		ResolvePTR: func(_ context.Context, ip netip.Addr) ([]string, error) {
			if ip == netip.MustParseAddr("192.0.2.1") {
				return []string{"both.test."}, nil
			}
			return nil, &net.DNSError{Name: ip.String(), IsNotFound: true}
		},
	})
	for _, tt := range []struct{ name, request, want string }{
		{"a name", "\xf0\x00\x03\x09both.test\x00\x00", "\x00\x00\x01\xc0\x00\x02\x01\x00\x00"},
		{"a name with IPv6 only", "\xf0\x00\x03\x08six.test\x00\x00", "\x00\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x00\x00"},
		{"an address", "\xf0\x00\x01\xc0\x00\x02\x07\x00\x00", "\x00\x00\x01\xc0\x00\x02\x07\x00\x00"},
		{"no such name", "\xf0\x00\x03\x04nope\x00\x00", "\x04\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"the name of an address", "\xf1\x00\x01\xc0\x00\x02\x01\x00\x00", "\x00\x00\x03\x09both.test\x00\x00"},
		{"no name", "\xf1\x00\x01\xc0\x00\x02\x02\x00\x00", "\x04\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"the name of a name", "\xf1\x00\x03\x04nope\x00\x00", "\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		if got := p.exchange(t, "\x05\x01\x00\x05"+tt.request, 1); got != "\x05\x00\x05"+tt.want {
			t.Errorf("%s: got %q", tt.name, got)
		}
		p.wait(t)
	}
}

// The addresses of a name that a client may not use are not told.
func TestLookUpOfWhatIsForbidden(t *testing.T) {
	forbidden := netip.MustParsePrefix("10.0.0.0/8")
	p := newProxy(t, Config{
		Rules: allowFunc(func(_ *Request, ap netip.AddrPort) error {
			if forbidden.Contains(ap.Addr()) {
				return ErrNotAllowed
			}
			return nil
		}),
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			list := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2")}
			if host == "both.test" {
				list = append(list, netip.MustParseAddr("192.0.2.1"))
			}
			return list, nil
		},
	})
	for _, tt := range []struct{ request, want string }{
		{"\xf0\x00\x03\x09both.test\x00\x00", "\x00\x00\x01\xc0\x00\x02\x01\x00\x00"},
		{"\xf0\x00\x03\x08lan.test\x00\x00", "\x02\x00\x01\x00\x00\x00\x00\x00\x00"},
	} {
		if got := p.exchange(t, "\x05\x01\x00\x05"+tt.request, 1); got != "\x05\x00\x05"+tt.want {
			t.Errorf("%q: got %q", tt.request, got)
		}
		p.wait(t)
	}
}

// A client that was given a port by BIND gets the same port again while that is free.
func TestBindAgain(t *testing.T) {
	p := newProxy(t, Config{AllowBind: true})
	bind := func(port uint16) (*net.TCPConn, Addr) {
		t.Helper()
		c := p.dial(t)
		if _, err := io.WriteString(c, "\x05\x01\x00\x05\x02\x00"+socks5Addr(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		r, at := reply5(t, c)
		if r != Succeeded {
			t.Fatalf("reply %v", r)
		}
		return c, at
	}
	serve := func(c *net.TCPConn, at Addr) {
		t.Helper()
		dest, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dest.Close() }()
		if r, _ := reply5(t, c); r != Succeeded {
			t.Errorf("second reply %v", r)
		}
	}
	first, at := bind(9)
	serve(first, at)
	second, again := bind(at.Port)
	if again.Port != at.Port {
		t.Errorf("asked for %d, got %d", at.Port, again.Port)
	}
	third, other := bind(at.Port) // while the second one is still open
	if other.Port == at.Port {
		t.Errorf("%d was given twice", at.Port)
	}
	serve(second, again)
	serve(third, other)
}

// A client of a Unix socket counts as one on this host, and can have an association.
func TestUnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, Config{Rules: onlySender(0)})
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	defer func() {
		_ = p.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}()
	echo, udpEcho := serveEcho(t), serveUDPEcho(t, "udp4")
	dial := func(request, want string) net.Conn {
		t.Helper()
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(testTimeout))
		got := make([]byte, len(want))
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		return c
	}
	c := dial("\x05\x01\x00\x05\x01\x00"+socks5Addr(echo)+"x", "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01")
	_ = c.(*net.UnixConn).CloseWrite()
	if rest, err := io.ReadAll(c); err != nil || len(rest) != 3 || rest[2] != 'x' {
		t.Errorf("got %q, %v", rest, err)
	}
	if r := p.wait(t).session.Request; !r.Unix || !r.Loopback() || r.Client.IsValid() {
		t.Errorf("the proxy saw %+v", r)
	}
	c = dial("\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01")
	defer func() { _ = c.Close() }()
	var b [2]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Fatal(err)
	}
	nc, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(b[0])<<8 | int(b[1])})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	u := &udpClient{t: t, UDPConn: nc}
	u.send(socks5Addr(udpEcho), "x")
	if _, data, ok := u.receive(testTimeout); !ok || data != "x" {
		t.Errorf("got %q, %v", data, ok)
	}
}

// Clients that offer a name are asked for the name, unless names are to be ignored.
func TestMethods(t *testing.T) {
	for _, tt := range []struct {
		name           string
		offered        []Method
		needed, ignore bool
		want           Method
	}{
		{"both", []Method{MethodNone, MethodPassword}, false, false, MethodPassword},
		{"both, no names", []Method{MethodNone, MethodPassword}, false, true, MethodNone},
		{"both, needed", []Method{MethodNone, MethodPassword}, true, true, MethodPassword},
		{"password, no names", []Method{MethodPassword}, false, true, MethodPassword},
		{"none", []Method{MethodNone}, false, false, MethodNone},
		{"none, needed", []Method{MethodNone}, true, true, MethodUnacceptable},
	} {
		if got := chooseMethod(tt.offered, tt.needed, tt.ignore); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
