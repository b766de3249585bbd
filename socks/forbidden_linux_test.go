package socks

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nothing allows nothing.
type nothing struct{}

func (nothing) Allow(context.Context, *Request) error { return ErrNotAllowed }

func (nothing) AllowAddr(context.Context, *Request, netip.AddrPort) error { return ErrNotAllowed }

// For a client that the rules do not let in, nothing is done: no name is resolved, nothing is
// dialled, and nothing is opened.
func TestNothingIsDoneForTheForbidden(t *testing.T) {
	done := make(chan string, 100)
	p := newProxy(t, Config{
		Rules: nothing{}, AllowBind: true,
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			done <- "dial " + address
			return nil, ErrNotAllowed
		},
		Listen: func(_ context.Context, _, address string) (net.Listener, error) {
			done <- "listen " + address
			return nil, ErrNotAllowed
		},
		ListenPacket: func(_ context.Context, network, _ string) (net.PacketConn, error) {
			done <- "open " + network
			return nil, ErrNotAllowed
		},
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			done <- "resolve " + host
			return nil, ErrNotAllowed
		},
		ResolvePTR: func(_ context.Context, ip netip.Addr) ([]string, error) {
			done <- "resolve " + ip.String()
			return nil, ErrNotAllowed
		},
	})
	const socks5 = "\x05\x01\x00\x05"
	for _, tt := range []struct{ name, request string }{
		{"CONNECT to a name", socks5 + "\x01\x00\x03\x0cexample.test\x00\x50"},
		{"CONNECT to an address", socks5 + "\x01\x00\x01\xc0\x00\x02\x01\x00\x50"},
		{"BIND", socks5 + "\x02\x00\x03\x0cexample.test\x00\x50"},
		{"UDP ASSOCIATE", socks5 + "\x03\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"RESOLVE", socks5 + "\xf0\x00\x03\x0cexample.test\x00\x00"},
		{"RESOLVE_PTR", socks5 + "\xf1\x00\x01\xc0\x00\x02\x01\x00\x00"},
		{"SOCKS 4", "\x04\x01\x00\x50\xc0\x00\x02\x01\x00"},
		{"SOCKS 4a", "\x04\x01\x00\x50\x00\x00\x00\x01\x00example.test\x00"},
		{"GET", "GET http://example.test/ HTTP/1.1\r\nHost: example.test\r\n\r\n"},
		{"HTTP CONNECT", "CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n"},
	} {
		got := p.exchange(t, tt.request, 1)
		p.wait(t)
		refused := strings.HasPrefix(got, "\x05\x00\x05\x02") || strings.HasPrefix(got, "\x00\x5b") || strings.HasPrefix(got, "HTTP/1.1 403 ")
		if !refused {
			t.Errorf("%s: answered %q", tt.name, got)
		}
		select {
		case what := <-done:
			t.Errorf("%s: %s", tt.name, what)
		default:
		}
	}
}

// A name whose address is forbidden is resolved, and nobody is connected to, not even for a
// moment.
func TestForbiddenAddressOfANameIsNotConnectedTo(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := addrPort(l.Addr()).Port()
	p := newProxy(t, Config{Rules: denyPort(port)})
	got := p.exchange(t, "\x05\x01\x00\x05\x01\x00\x03\x09localhost"+string([]byte{byte(port >> 8), byte(port)}), 1)
	if !strings.HasPrefix(got, "\x05\x00\x05\x02") {
		t.Errorf("answered %q", got)
	}
	p.wait(t)
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if c, _, err := syscall.Accept(int(fd)); err == nil {
			_ = syscall.Close(c)
			t.Error("there was a connection")
		}
	}); err != nil {
		t.Error(err)
	}
}

// The rules are asked about the address that would be reached, in the form that they know.
func TestAddressThatIsChecked(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "fe80::1%lo": "fe80::1",
		"0.0.0.0": "127.0.0.1", "::ffff:0.0.0.0": "127.0.0.1", "::": "::1", "::%lo": "::1",
	} {
		var asked netip.AddrPort
		sc := scope{s: &Server{}, r: &Request{}, cfg: &Config{Rules: allowFunc(func(_ *Request, ap netip.AddrPort) error {
			asked = ap
			return nil
		})}}
		if err := sc.check(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(address), 80)); err != nil || asked.String() != netip.AddrPortFrom(netip.MustParseAddr(want), 80).String() {
			t.Errorf("%s: asked about %v, %v; want %s", address, asked, err, want)
		}
	}
}

// Datagrams can be the client's only if they come from its address, and from its port if that
// is known.
func TestWhichDatagramsMayBeTheClients(t *testing.T) {
	known := netip.MustParseAddrPort("192.0.2.1:5")
	for _, tt := range []struct {
		client    string // of the connection; "": by a Unix socket
		announced uint16
		known     *netip.AddrPort
		from      string
		want      bool
	}{
		{"192.0.2.1:1", 0, nil, "192.0.2.1:9", true},
		{"192.0.2.1:1", 0, nil, "192.0.2.2:9", false},
		{"192.0.2.1:1", 0, nil, "127.0.0.1:9", false},
		{"192.0.2.1:1", 9, nil, "192.0.2.1:9", true},
		{"192.0.2.1:1", 8, nil, "192.0.2.1:9", false},
		{"192.0.2.1:1", 0, &known, "192.0.2.1:5", true},
		{"192.0.2.1:1", 0, &known, "192.0.2.1:9", false},
		{"[fe80::1]:1", 0, nil, "[fe80::1%lo]:9", true},
		{"[fe80::1]:1", 0, nil, "[fe80::2%lo]:9", false},
		{"", 0, nil, "127.0.0.1:9", true},
		{"", 0, nil, "[::1]:9", true},
		{"", 0, nil, "192.0.2.1:9", false},
	} {
		c := &conn{}
		if tt.client != "" {
			c.client = netip.MustParseAddrPort(tt.client)
		}
		a := &association{ss: &Session{c: c}, announced: tt.announced}
		a.client.Store(tt.known)
		if got := a.mayBeClients(netip.MustParseAddrPort(tt.from)); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}

// Names in datagrams, their look-ups and the datagrams that wait for them are bounded.
func TestNamesInDatagramsAreBounded(t *testing.T) {
	var n udpNames
	now := time.Now()
	host := func(i int) string { return fmt.Sprintf("%d.test", i) }
	for i := range maxUDPLookUps {
		if n.begin(host(i)) == nil {
			t.Fatalf("look-up %d is refused", i)
		}
	}
	if n.begin(host(maxUDPLookUps)) != nil {
		t.Error("too many look-ups at a time")
	}
	for i := range 3 * maxUDPNames {
		n.lookUps = 0
		if name := n.begin(host(1000 + i)); name != nil {
			name.pending, name.until = false, now.Add(udpNameTTL)
		}
	}
	if len(n.byHost) > maxUDPNames || n.recent.Len() != len(n.byHost) {
		t.Errorf("%d and %d names are remembered", len(n.byHost), n.recent.Len())
	}
	for i := range maxUDPLookUps {
		if n.use(host(i), now) == nil {
			t.Errorf("a name that is being looked up is forgotten: %s", host(i))
		}
	}

	a := &association{ss: &Session{c: &conn{cfg: &Config{Rules: everything{}}}}}
	small, large := Addr{Host: host(0)}, Addr{Host: host(1)}
	a.names.begin(small.Host)
	a.names.begin(large.Host)
	for range 2 * maxUDPWaiting {
		a.byName([]byte("x"), small)
	}
	for range 2 * maxUDPWaiting {
		a.byName(make([]byte, maxUDPWaitingBytes/maxUDPWaiting*2), large)
	}
	if got := len(a.names.use(small.Host, now).waiting); got != maxUDPWaiting {
		t.Errorf("%d datagrams wait for a name", got)
	}
	if a.names.bytes > maxUDPWaitingBytes || len(a.names.use(large.Host, now).waiting) == 0 {
		t.Errorf("%d bytes wait", a.names.bytes)
	}
}
