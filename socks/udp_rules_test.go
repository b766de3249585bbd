package socks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

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

// A name that the rules forbid is not even resolved.
func TestAssociationNameIsForbidden(t *testing.T) {
	echo := serveUDPEcho(t, "udp4")
	resolved := make(chan string, 10)
	p := newProxy(t, Config{
		Rules: noName("secret.test"),
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			resolved <- host
			return []netip.Addr{echo.Addr()}, nil
		},
	})
	u := p.associate(t)
	u.send("\x03\x0bsecret.test"+port(echo), "secret")
	u.send("\x03\x09open.test"+port(echo), "open")
	if _, data, _ := u.receive(testTimeout); data != "open" {
		t.Errorf("got %q", data)
	}
	_ = u.control.Close()
	p.wait(t) // until then, a look-up may be about to begin
	close(resolved)
	for host := range resolved {
		if host != "open.test" {
			t.Errorf("%q was resolved", host)
		}
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

// onlySender are rules that refuse datagrams from one port.
type onlySender uint16

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
