package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// reply5 reads a SOCKS 5 reply.
func reply5(t *testing.T, r io.Reader) (Reply, Addr) {
	t.Helper()
	var b [3]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		t.Fatal(err)
	}
	a, err := readAddr(r)
	if err != nil {
		t.Fatal(err)
	}
	return Reply(b[1]), a
}

func TestBind(t *testing.T) {
	p := newProxy(t, Config{AllowBind: true})
	c := p.dial(t)
	if _, err := io.WriteString(c, "\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x09"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	r, at := reply5(t, c)
	if r != Succeeded || at.Host != "127.0.0.1" || at.Port == 0 {
		t.Fatalf("first reply: %v, %v", r, at)
	}
	// A connection from another address than the destination's is turned away.
	wrong := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	if nc, err := wrong.Dial("tcp", at.String()); err != nil {
		t.Logf("no second loopback address: %v", err)
	} else {
		_ = nc.SetDeadline(time.Now().Add(testTimeout))
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("a stranger is served")
		}
		_ = nc.Close()
	}
	dest, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dest.Close() }()
	r, from := reply5(t, c)
	if want := addrOf(addrPort(dest.LocalAddr())); r != Succeeded || from != want {
		t.Fatalf("second reply: %v, %v; want %v", r, from, want)
	}
	if _, err := io.WriteString(dest, "hello"); err != nil {
		t.Fatal(err)
	}
	_ = dest.Close()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBindTimeout(t *testing.T) {
	p := newProxy(t, Config{AllowBind: true, Connect: 20 * time.Millisecond})
	c := p.dial(t)
	if _, err := io.WriteString(c, "\x04\x02\x00\x50\x7f\x00\x00\x01\x00"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || len(got) != 16 || got[1] != 90 || got[9] != 91 {
		t.Errorf("got %x, %v; want a reply 90 and a reply 91", got, err)
	}
	if e := p.wait(t); !errors.Is(e.err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", e.err)
	}
}

func TestBindRules(t *testing.T) {
	p := newProxy(t, Config{AllowBind: true, Resolve: func(context.Context, string, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{IsNotFound: true}
	}})
	for _, tt := range []struct{ name, dest, want string }{
		{"no such name", "\x03\x04nope\x00\x50", "\x04"},
		{"the proxy itself", socks5Addr(p.addr), "\x02"},
	} {
		got := p.exchange(t, "\x05\x01\x00\x05\x02\x00"+tt.dest, 1)
		if !strings.HasPrefix(got, "\x05\x00\x05"+tt.want) {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}
