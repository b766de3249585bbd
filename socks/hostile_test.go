package socks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// heap returns the memory in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// The headers of many clients together take a limited amount of memory, whether they
// are long, have many lines, never end, or belong to requests that never end. Other
// clients are served meanwhile.
func TestHeadersAreBounded(t *testing.T) {
	echo := serveEcho(t)
	silent := serveTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	const clients = 60
	for _, tt := range []struct{ name, head string }{
		{"a byte", "G"},
		{"long", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 900<<10)},
		{"lines", "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 200<<10)},
		{"waiting for a body", "POST http://" + silent.String() + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + strings.Repeat("a:\r\n", 900) + "X: " + strings.Repeat("x", 800<<10) + "\r\n\r\n"},
		{"tunnel", "CONNECT " + silent.String() + " HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 900) + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProxy(t, Config{MaxConns: 2 * clients})
			before := heap()
			var all sync.WaitGroup
			for range clients {
				c := p.dial(t)
				_ = c.SetDeadline(time.Now().Add(testTimeout))
				all.Go(func() { _, _ = io.WriteString(c, tt.head) }) // the server may refuse it meanwhile
			}
			all.Wait()
			served := p.through(t, echo.String())
			if _, err := io.WriteString(served, "x"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(served, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			if grown := heap() - before; grown > 40<<20 {
				t.Errorf("%d clients take %d MB", clients, grown>>20)
			}
		})
	}
}

// The memory of a long header is given back when the request is over.
func TestHeadersGiveBack(t *testing.T) {
	p := newProxy(t, Config{MaxConns: 100})
	for i := range 20 {
		c := p.dial(t)
		_, err := io.WriteString(c, "GET http://"+unreachable(t)+"/ HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 900<<10)+"\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(testTimeout))
		b, err := io.ReadAll(c)
		if err != nil || strings.Contains(string(b), " 431 ") || !strings.HasPrefix(string(b), "HTTP/1.1 5") {
			t.Fatalf("request %d: %.100q, %v", i, b, err)
		}
		_ = c.Close()
	}
	_ = p.Close()
	if n := p.heads.taken.Load(); n != 0 {
		t.Errorf("%d bytes stay taken", n)
	}
}

// unreachable returns an address at which nobody listens.
func unreachable(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// slowCheck checks passwords. Each check begins when the test takes its user, and ends
// when the test lets a check of that user end.
type slowCheck struct {
	began chan string
	end   map[string]chan struct{}
}

func (s *slowCheck) Authenticate(user, _ string) bool {
	s.began <- user
	<-s.end[user]
	return user == "good"
}

// A client that tries many passwords delays others by one check, not by all of them.
func TestPasswordsTakeTurns(t *testing.T) {
	s := New(Config{})
	defer func() { _ = s.Close() }()
	auth := &slowCheck{began: make(chan string), end: map[string]chan struct{}{"good": make(chan struct{}), "bad": make(chan struct{})}}
	check := func(client, user string) chan bool {
		done := make(chan bool, 1)
		c := &conn{s: s, cfg: &Config{Auth: auth}, client: netip.MustParseAddrPort(client)}
		go func() { done <- s.authenticate(c, user, "") }()
		return done
	}
	next := func() string {
		t.Helper()
		select {
		case user := <-auth.began:
			return user
		case <-time.After(testTimeout):
			t.Fatal("no check begins")
			return ""
		}
	}
	const tries = 50
	var bad []chan bool
	for i := range tries {
		bad = append(bad, check(fmt.Sprintf("[2001:db8::%x]:1", i), "bad"))
	}
	if user := next(); user != "bad" {
		t.Fatalf("the check of %q began", user)
	}
	// One of the network's checks runs. All others of it must wait, so that whatever
	// begins now is the check of the other client.
	good := check("192.0.2.1:1", "good")
	if user := next(); user != "good" {
		t.Fatalf("a second check of %q began", user)
	}
	auth.end["good"] <- struct{}{}
	if !<-good {
		t.Error("the right password is refused")
	}
	for range tries - 1 {
		auth.end["bad"] <- struct{}{}
		if user := next(); user != "bad" {
			t.Fatalf("the check of %q began", user)
		}
	}
	auth.end["bad"] <- struct{}{}
	for _, c := range bad {
		if <-c {
			t.Error("a wrong password is taken")
		}
	}
	if len(s.turns) != 0 {
		t.Errorf("%d turns are left", len(s.turns))
	}
}

// Associations take more descriptors than other requests, but do not take away those of
// others.
func TestAssociationsAreBounded(t *testing.T) {
	p := newProxy(t, Config{MaxFiles: 23})
	for range 5 {
		p.associate(t)
	}
	c := p.dial(t)
	if _, err := io.WriteString(c, "\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	var b [4]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || Reply(b[3]) != GeneralFailure {
		t.Errorf("one too many: %x, %v", b, err)
	}
	for {
		if e := p.wait(t); errors.Is(e.err, errAssociations) {
			break
		}
	}
	_ = c.Close()
	for p.Conns() > 5 { // clients that were not served are still saying farewell
		runtime.Gosched()
	}
	p.through(t, serveEcho(t).String())
}

// One idle connection to a server counts as the second descriptor of an HTTP client.
// Further ones are kept only while there are descriptors.
func TestKeptServersAreBounded(t *testing.T) {
	p := newProxy(t, Config{MaxFiles: 4})
	answer := func(c *net.TCPConn) {
		b := make([]byte, 4096)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
		}
	}
	c := p.dial(t)
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	for range 6 {
		_, err := io.WriteString(c, "GET http://"+serveTCP(t, answer).String()+"/ HTTP/1.1\r\nHost: x\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	p.mu.Lock()
	if p.extra > 2 {
		t.Errorf("%d connections are kept beside the first", p.extra)
	}
	p.mu.Unlock()
	_ = c.Close()
	for range 6 {
		p.wait(t)
	}
	_ = p.Close()
	if p.extra != 0 {
		t.Errorf("%d stay counted", p.extra)
	}
}

// fickleSender are rules by which a port belongs to the client until gone is set.
type fickleSender struct {
	onlySender
	gone atomic.Bool
}

func (f *fickleSender) AllowSender(context.Context, *Request, netip.AddrPort, netip.AddrPort) error {
	if f.gone.Load() {
		return ErrNotAllowed
	}
	return nil
}

// If another program gets the client's port later, that program gets nothing that is
// sent to the client.
func TestAnswersAreTheClients(t *testing.T) {
	inside, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inside.Close() }()
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	rules := &fickleSender{}
	s := New(Config{Rules: rules})
	defer func() { _ = s.Close() }()
	c := &conn{s: s, cfg: s.config.Load(), client: netip.MustParseAddrPort("127.0.0.1:1")}
	a := &association{ss: s.newSession(c, &Request{}), ctx: t.Context(), inside: inside, bound: addrPort(inside.LocalAddr())}
	from := netip.MustParseAddrPort("192.0.2.1:53")
	a.peers.note(udpPeer{addr: from}, nil, time.Now())
	port := addrPort(client.LocalAddr())
	if !a.isClients(port) {
		t.Fatal("the client's datagram is not taken")
	}
	deliver := func(text string) {
		b := new([bufferSize]byte)
		a.deliver(b, copy(b[datagramHeader:], text), from)
	}
	deliver("first")
	rules.gone.Store(true)
	if a.isClients(port) { // whatever was found a moment ago
		t.Error("a datagram of the port's next owner is taken")
	}
	deliver("secret")
	rules.gone.Store(false)
	a.checked = time.Now().Add(-udpOwnerFor)
	deliver("last")
	rules.gone.Store(true)
	a.checked = time.Now().Add(-udpOwnerFor)
	deliver("secret")
	for _, want := range []string{"first", "last"} {
		_ = client.SetReadDeadline(time.Now().Add(testTimeout))
		b := make([]byte, 100)
		n, err := client.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, data, err := parseDatagram(b[:n]); string(data) != want || err != nil {
			t.Errorf("got %q, %v; want %q", data, err, want)
		}
	}
}
