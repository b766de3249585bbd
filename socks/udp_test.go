package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// udpClient is a client that has an association.
type udpClient struct {
	t       *testing.T
	control *net.TCPConn
	*net.UDPConn
}

// associate asks for an association. The first reply has the address of the proxy's
// socket.
func (p *testProxy) associate(t *testing.T) *udpClient {
	t.Helper()
	return p.associateAs(t, "\x01\x00\x00\x00\x00\x00\x00")
}

// associateAs asks for an association and announces an address to send from.
func (p *testProxy) associateAs(t *testing.T, announced string) *udpClient {
	t.Helper()
	c := p.dial(t)
	if _, err := io.WriteString(c, "\x05\x01\x00\x05\x03\x00"+announced); err != nil {
		t.Fatal(err)
	}
	var b [12]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		t.Fatal(err)
	}
	if b[3] != 0 {
		t.Fatalf("reply %v", Reply(b[3]))
	}
	relay, err := readAddr(strings.NewReader(string(b[5:])))
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(relay.IP(), relay.Port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	return &udpClient{t, c, u}
}

func (u *udpClient) send(dest, data string) {
	u.t.Helper()
	if _, err := io.WriteString(u, "\x00\x00\x00"+dest+data); err != nil {
		u.t.Fatal(err)
	}
}

// receive returns the next datagram. ok tells whether one came in time.
func (u *udpClient) receive(wait time.Duration) (from Addr, data string, ok bool) {
	u.t.Helper()
	if err := u.SetReadDeadline(time.Now().Add(wait)); err != nil {
		u.t.Fatal(err)
	}
	b := make([]byte, bufferSize)
	n, err := u.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Addr{}, "", false
	}
	if err != nil {
		u.t.Fatal(err)
	}
	from, d, err := parseDatagram(b[:n])
	if err != nil {
		u.t.Fatal(err)
	}
	return from, string(d), true
}

// serveUDPEcho sends each datagram back.
func serveUDPEcho(t *testing.T, network string) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket(network, "")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, bufferSize)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(b[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	ip := netip.IPv6Loopback()
	if network == "udp4" {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(ip, addrPort(pc.LocalAddr()).Port())
}

func TestAssociation(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	var asked atomic.Int32
	p := newProxy(t, Config{
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			asked.Add(1)
			if host != "echo.test" {
				return nil, &net.DNSError{Name: host, IsNotFound: true}
			}
			return []netip.Addr{echo.Addr()}, nil
		},
	})
	u := p.associate(t)
	for _, tt := range []struct{ name, dest, data string }{
		{"by address", socks5Addr(echo), "one"},
		{"by name", "\x03\x09echo.test" + port(echo), "two"},
		{"by name again", "\x03\x09echo.test" + port(echo), "three"},
		{"empty", socks5Addr(echo), ""},
		{"large", socks5Addr(echo), strings.Repeat("x", 60_000)},
	} {
		u.send(tt.dest, tt.data)
		from, data, ok := u.receive(testTimeout)
		if !ok || from != addrOf(echo) || data != tt.data {
			t.Errorf("%s: got %d bytes from %v, %v; want %d from %v", tt.name, len(data), from, ok, len(tt.data), echo)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the name was resolved %d times", n)
	}
	// None of these may be answered, so the next answer must be that to the next valid
	// datagram.
	u.send("\x03\x04nope"+port(echo), "no such name")
	if _, err := io.WriteString(u, "\x00\x00\x01"+socks5Addr(echo)+"fragment"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, "rubbish"); err != nil {
		t.Fatal(err)
	}
	u.send(socks5Addr(echo), "good")
	if _, data, _ := u.receive(testTimeout); data != "good" {
		t.Errorf("got %q", data)
	}
	_ = u.control.Close()
	e := p.wait(t)
	if n := e.session.Fragments(); n != 1 {
		t.Errorf("%d fragments", n)
	}
	if want := int64(3 + 3 + 5 + 60_000 + 4); e.err != nil && !errors.Is(e.err, syscall.ECONNRESET) || e.session.Sent() != want || e.session.Received() != want {
		t.Errorf("ended with %v, sent %d, received %d, want %d", e.err, e.session.Sent(), e.session.Received(), want)
	}
}

func TestAssociationIPv6Destination(t *testing.T) {
	needIPv6(t)
	echo := serveUDPEcho(t, "udp6")
	u := newProxy(t, Config{}).associate(t)
	u.send(socks5Addr(echo), "six")
	if from, data, ok := u.receive(testTimeout); !ok || from != addrOf(echo) || data != "six" {
		t.Errorf("got %q from %v, %v", data, from, ok)
	}
}

func (noName) Allow(context.Context, *Request) error                     { return nil }
func (noName) AllowAddr(context.Context, *Request, netip.AddrPort) error { return nil }

func (n noName) AllowName(_ context.Context, _ *Request, dest Addr) error {
	if dest.Host == string(n) {
		return ErrNotAllowed
	}
	return nil
}

func (b brokenSocket) WriteTo([]byte, net.Addr) (int, error) { return 0, b.err }

func (silentSocket) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// A name whose resolver is silent delays no other datagram. A slow name delays only its
// own datagrams.
func TestSilentResolverStallsNobody(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	resolve := make(chan struct{})
	p := newProxy(t, Config{Resolve: func(ctx context.Context, _, host string) ([]netip.Addr, error) {
		if host == "slow.test" {
			<-resolve
			return []netip.Addr{echo.Addr()}, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	u := p.associate(t)
	for range 2 * maxUDPWaiting {
		u.send("\x03\x0bsilent.test"+port(echo), "nobody hears this")
	}
	u.send("\x03\x09slow.test"+port(echo), "slow")
	u.send(socks5Addr(echo), "quick")
	if _, data, ok := u.receive(testTimeout); !ok || data != "quick" {
		t.Errorf("got %q, %v", data, ok)
	}
	close(resolve)
	if _, data, ok := u.receive(testTimeout); !ok || data != "slow" {
		t.Errorf("got %q, %v", data, ok)
	}
}

// Many clients announce the address to which they will send, not the one from which.
func TestAssociationAnnouncements(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	for _, tt := range []struct {
		name, announced string
		rules           Rules
	}{
		{"nothing", "\x01\x00\x00\x00\x00\x00\x00", nil},
		{"a destination elsewhere", "\x01\xc0\x00\x02\x01\x00\x35", nil},
		{"a name", "\x03\x09echo.test\x00\x35", nil},
		{"a destination on the same host", socks5Addr(echo), onlySender(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := newProxy(t, Config{Rules: tt.rules}).associateAs(t, tt.announced)
			u.send(socks5Addr(echo), "x")
			if _, data, ok := u.receive(testTimeout); !ok || data != "x" {
				t.Errorf("got %q, %v", data, ok)
			}
		})
	}
}

func (onlySender) Allow(context.Context, *Request) error                     { return nil }
func (onlySender) AllowAddr(context.Context, *Request, netip.AddrPort) error { return nil }

func (o onlySender) AllowSender(_ context.Context, _ *Request, from, _ netip.AddrPort) error {
	if from.Port() == uint16(o) {
		return ErrNotAllowed
	}
	return nil
}

// The destinations used last are remembered, however many there are.
func TestManyPeers(t *testing.T) {
	var p udpPeers
	now := time.Now()
	peer := func(i int) udpPeer {
		return udpPeer{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)}
	}
	for i := range 3 * maxUDPPeers {
		p.note(peer(i), nil, now)
		if _, known := p.verdict(peer(0), now); !known { // it is still in use
			t.Fatalf("the first is forgotten after %d", i)
		}
	}
	if n := len(p.byPeer); n != maxUDPPeers || p.recent.Len() != n || len(p.known) != n {
		t.Errorf("%d, %d and %d peers are remembered, want %d", n, p.recent.Len(), len(p.known), maxUDPPeers)
	}
	last := 3*maxUDPPeers - 1
	for i, want := range map[int]bool{0: true, 1: false, last - maxUDPPeers + 1: false, last - maxUDPPeers + 2: true, last: true} {
		if got := p.mayAnswer(peer(i).addr.Addr()); got != want {
			t.Errorf("peer %d may answer: %v", i, got)
		}
	}
	p.note(udpPeer{"a", peer(last).addr}, nil, now)
	p.forget(p.byPeer[peer(last)])
	if !p.mayAnswer(peer(last).addr.Addr()) {
		t.Error("an address that is known by its name, too, may not answer")
	}
}

func TestAssociationIdle(t *testing.T) {
	p := newProxy(t, Config{UDPIdle: 20 * time.Millisecond})
	p.associate(t)
	if e := p.wait(t); !errors.Is(e.err, errIdle) {
		t.Errorf("ended with %v", e.err)
	}
}

// A DNS client library works through an association.
func TestDNSOverAssociation(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 7)}}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe()
	}()
	defer func() {
		_ = pc.Close()
		<-done
	}()
	u := newProxy(t, Config{}).associate(t)
	client := &dns.Client{Net: "udp", Timeout: testTimeout}
	answer, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion("example.org.", dns.TypeA),
		&dns.Conn{Conn: encapsulated{u, socks5Addr(addrPort(pc.LocalAddr()))}})
	if err != nil || len(answer.Answer) != 1 {
		t.Errorf("%v, %v", answer, err)
	}
}

// encapsulated makes an association look like a connected datagram socket.
type encapsulated struct {
	*udpClient
	dest string
}

func (e encapsulated) Write(b []byte) (int, error) {
	_, err := io.WriteString(e.udpClient, "\x00\x00\x00"+e.dest+string(b))
	return len(b), err
}

func (e encapsulated) Read(b []byte) (int, error) {
	_, data, ok := e.receive(testTimeout)
	if !ok {
		return 0, os.ErrDeadlineExceeded
	}
	return copy(b, data), nil
}

// ReadFrom makes encapsulated a net.PacketConn, which the library asks for.
func (e encapsulated) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := e.Read(b)
	return n, e.RemoteAddr(), err
}
