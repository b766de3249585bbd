package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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

// An association passes on nothing from other clients, and nothing from strangers.
func TestAssociationIsItsClientsOnly(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	out := make(chan net.PacketConn, 1)
	p := newProxy(t, Config{ListenPacket: func(ctx context.Context, network, _ string) (net.PacketConn, error) {
		var lc net.ListenConfig
		pc, err := lc.ListenPacket(ctx, network, "127.0.0.1:0")
		out <- pc
		return pc, err
	}})
	u := p.associate(t)
	u.send(socks5Addr(echo), "mine")
	if _, data, _ := u.receive(testTimeout); data != "mine" {
		t.Fatalf("got %q", data)
	}
	other, err := net.Dial("udp", u.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := io.WriteString(other, "\x00\x00\x00"+socks5Addr(echo)+"other"); err != nil {
		t.Fatal(err)
	}
	// This address is one to which the client never sent anything.
	stranger, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, (<-out).LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Skipf("needs a second loopback address: %v", err)
	}
	defer func() { _ = stranger.Close() }()
	if _, err := io.WriteString(stranger, "stranger"); err != nil {
		t.Fatal(err)
	}
	u.send(socks5Addr(echo), "mine again")
	if _, data, _ := u.receive(testTimeout); data != "mine again" {
		t.Errorf("got %q", data)
	}
}

func TestAssociationRules(t *testing.T) {
	allowed, denied := serveUDPEcho(t, "udp4"), serveUDPEcho(t, "udp4")
	u := newProxy(t, Config{Rules: denyPort(denied.Port())}).associate(t)
	u.send(socks5Addr(denied), "denied")
	u.send(socks5Addr(allowed), "allowed")
	if from, data, _ := u.receive(testTimeout); data != "allowed" || from != addrOf(allowed) {
		t.Errorf("got %q from %v", data, from)
	}
}

// noName allows everything but datagrams to one name.
type noName string

func (noName) Allow(context.Context, *Request) error                     { return nil }
func (noName) AllowAddr(context.Context, *Request, netip.AddrPort) error { return nil }

func (n noName) AllowName(_ context.Context, _ *Request, dest Addr) error {
	if dest.Host == string(n) {
		return ErrNotAllowed
	}
	return nil
}

// A name that the rules forbid is not even resolved.
func TestAssociationNameIsForbidden(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	resolved := make(chan string, 10)
	u := newProxy(t, Config{
		Rules: noName("secret.test"),
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			resolved <- host
			return []netip.Addr{echo.Addr()}, nil
		},
	}).associate(t)
	u.send("\x03\x0bsecret.test"+port(echo), "secret")
	u.send("\x03\x09open.test"+port(echo), "open")
	if _, data, _ := u.receive(testTimeout); data != "open" {
		t.Errorf("got %q", data)
	}
	if host := <-resolved; host != "open.test" {
		t.Errorf("%q was resolved", host)
	}
}

// brokenSocket cannot send.
type brokenSocket struct {
	net.PacketConn
	err error
}

func (b brokenSocket) WriteTo([]byte, net.Addr) (int, error) { return 0, b.err }

// When the network of an association goes away, the association moves to another one.
func TestAssociationMoves(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	var mu sync.Mutex
	opened := 0
	p := newProxy(t, Config{ListenPacket: func(ctx context.Context, network, _ string) (net.PacketConn, error) {
		mu.Lock()
		defer mu.Unlock()
		opened++
		var lc net.ListenConfig
		pc, err := lc.ListenPacket(ctx, network, "127.0.0.1:0")
		if err == nil && opened == 1 {
			return brokenSocket{pc, syscall.ENETUNREACH}, nil
		}
		return pc, err
	}})
	u := p.associate(t)
	u.send(socks5Addr(echo), "x")
	if _, data, _ := u.receive(testTimeout); data != "x" {
		t.Errorf("got %q", data)
	}
}

// silentSocket sends, but nothing arrives.
type silentSocket struct{ net.PacketConn }

func (silentSocket) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// When no answers come, ListenPacket is called again. The association moves if the new
// socket is on another network.
func TestSilentAssociationMoves(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	opened := make(chan string, 100)
	p := newProxy(t, Config{udpSilence: 1, ListenPacket: func(ctx context.Context, network, _ string) (net.PacketConn, error) {
		// The first network is silent, and ListenPacket chooses it twice.
		address := "127.0.0.2:0"
		if len(opened) < 2 {
			address = "127.0.0.1:0"
		}
		var lc net.ListenConfig
		pc, err := lc.ListenPacket(ctx, network, address)
		if err == nil {
			if first, silent := len(opened) == 0, !SilentSince(ctx).IsZero(); first == silent {
				t.Errorf("asked for socket %d with silence: %v", len(opened), silent)
			}
			opened <- addrPort(pc.LocalAddr()).Addr().String()
		}
		if err == nil && address == "127.0.0.1:0" {
			return silentSocket{pc}, nil
		}
		return pc, err
	}})
	u := p.associate(t)
	deadline := time.Now().Add(testTimeout)
	for {
		u.send(socks5Addr(echo), "x")
		if _, data, ok := u.receive(10 * time.Millisecond); ok {
			if data != "x" {
				t.Errorf("got %q", data)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not move")
		}
	}
	if n := len(opened); n < 3 {
		t.Errorf("opened %d sockets, want 3 at least", n)
	}
}

// After answers, silence is noticed by how long these took, and only while datagrams
// are being sent.
func TestSilenceAfterAnswers(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		answers []time.Duration // how long each took
		every   time.Duration   // time between later datagrams
		want    time.Duration   // how long until WasAnswering is true
	}{
		{"answers were quick", []time.Duration{20 * ms, 20 * ms}, 20 * ms, 300 * ms},
		{"answers were slow", []time.Duration{200 * ms, 200 * ms}, 20 * ms, 600 * ms},
		{"one was slow", append([]time.Duration{400 * ms}, slices.Repeat([]time.Duration{20 * ms}, 8)...), 10 * ms, 420 * ms},
		{"answers took seconds", []time.Duration{5 * time.Second}, 1 * time.Second, 16 * time.Second},
		{"few datagrams", []time.Duration{20 * ms}, 400 * ms, 800 * ms},
		{"no answer ever", nil, 20 * ms, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &association{ss: &Session{Begun: time.Now(), c: &conn{cfg: Config{}.withDefaults()}}}
				time.Sleep(ms) // virtual time
				for _, took := range tt.answers {
					a.isSilent()
					time.Sleep(took)
					a.answered(time.Since(a.ss.Begun))
				}
				begun, got := time.Now(), time.Duration(0)
				for got == 0 && time.Since(begun) < time.Minute {
					if a.isSilent().wasAnswering {
						got = time.Since(begun)
					}
					time.Sleep(tt.every)
				}
				if got != tt.want {
					t.Errorf("noticed after %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// However much is sent without an answer, another network is asked for only now and
// then.
func TestSilenceIsNoticedAtTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		a := &association{ss: &Session{Begun: begun, c: &conn{cfg: Config{}.withDefaults()}}}
		var got []int
		for time.Since(begun) < 10*time.Minute {
			time.Sleep(100 * time.Millisecond)
			if !a.isSilent().since.IsZero() {
				got = append(got, int(time.Since(begun).Seconds()))
			}
		}
		if diff := cmp.Diff([]int{1, 2, 4, 8, 16, 32, 64, 128, 248, 368, 488}, got); diff != "" {
			t.Errorf("after seconds (-want +got)\n%s", diff)
		}
		a.asked.Store(0) // an answer has come
		if !a.isSilent().since.IsZero() {
			t.Error("silent with the first datagram")
		}
		time.Sleep(30 * time.Second)
		if a.isSilent().since.IsZero() {
			t.Error("not silent after 30 s")
		}
		time.Sleep(29 * time.Second)
		if !a.isSilent().since.IsZero() {
			t.Error("once more before 60 s")
		}
	})
}

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

// Rules see the name to which a datagram goes.
func TestAssociationRulesByName(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	p := newProxy(t, Config{
		Resolve: func(context.Context, string, string) ([]netip.Addr, error) { return []netip.Addr{echo.Addr()}, nil },
		Rules:   denyName("bad.test"),
	})
	u := p.associate(t)
	for _, tt := range []struct{ dest, want string }{{"\x03\x09good.test" + port(echo), "good"}, {socks5Addr(echo), "address"}} {
		u.send("\x03\x08bad.test"+port(echo), "bad")
		u.send(tt.dest, tt.want)
		if _, data, _ := u.receive(testTimeout); data != tt.want {
			t.Errorf("got %q, want %q", data, tt.want)
		}
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

// onlySender are rules that refuse datagrams from one port.
type onlySender uint16

func (onlySender) Allow(context.Context, *Request) error                     { return nil }
func (onlySender) AllowAddr(context.Context, *Request, netip.AddrPort) error { return nil }

func (o onlySender) AllowSender(_ context.Context, _ *Request, from, _ netip.AddrPort) error {
	if from.Port() == uint16(o) {
		return ErrNotAllowed
	}
	return nil
}

// Somebody else's datagram, even if it is the first, does not take an association over.
func TestAssociationIsNotTakenOver(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	thief, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = thief.Close() }()
	u := newProxy(t, Config{Rules: onlySender(addrPort(thief.LocalAddr()).Port())}).associate(t)
	for range 3 {
		if _, err := thief.WriteTo([]byte("\x00\x00\x00"+socks5Addr(echo)+"stolen"), u.RemoteAddr()); err != nil {
			t.Fatal(err)
		}
	}
	u.send(socks5Addr(echo), "mine")
	if _, data, ok := u.receive(testTimeout); !ok || data != "mine" {
		t.Errorf("got %q, %v", data, ok)
	}
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

// The rules are asked again about a destination that is used for long: its address may be
// one of the host's own by now.
func TestPeersAreCheckedAgain(t *testing.T) {
	var p udpPeers
	peer, now := udpPeer{addr: netip.MustParseAddrPort("192.0.2.1:53")}, time.Now()
	p.note(peer, nil, now)
	if err, known := p.verdict(peer, now.Add(udpVerdictFor)); err != nil || !known {
		t.Errorf("a moment later: %v, %v", err, known)
	}
	now = now.Add(udpVerdictFor + 1)
	if _, known := p.verdict(peer, now); known {
		t.Error("an old answer of the rules counts")
	}
	for _, err := range []error{ErrNotAllowed, nil, nil, ErrNotAllowed} {
		p.note(peer, err, now)
		got, known := p.verdict(peer, now)
		if !known || !errors.Is(got, err) || p.mayAnswer(peer.addr.Addr()) != (err == nil) || len(p.byPeer) != 1 || p.recent.Len() != 1 {
			t.Errorf("after %v: %v, %v; may answer: %v; %d and %d are remembered", err, got, known, p.mayAnswer(peer.addr.Addr()), len(p.byPeer), p.recent.Len())
		}
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
