package socks

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// once allows only the first question about a port.
type once struct {
	onlySender
	asked chan int // the number of the question
	n     int
}

func (o *once) AllowSender(context.Context, *Request, netip.AddrPort, netip.AddrPort) error {
	o.n++
	o.asked <- o.n
	if o.n > 1 {
		return ErrNotAllowed
	}
	return nil
}

// The answer of the rules about a port holds for the datagrams that have come before the
// question, and for none that is read later.
func TestOwnerIsAskedForEachBatch(t *testing.T) {
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	inside, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialUDP("udp4", nil, inside.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for i := range 2*udpBatch + 1 { // all are there before the first is read
		if _, err := client.Write([]byte("\x00\x00\x00" + socks5Addr(addrPort(sink.LocalAddr())) + string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	rules := &once{asked: make(chan int)}
	s := New(Config{Rules: rules})
	defer func() { _ = s.Close() }()
	c := &conn{s: s, cfg: s.config.Load(), client: netip.AddrPortFrom(addrPort(client.LocalAddr()).Addr(), 1)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := &association{ss: s.newSession(c, &Request{}), ctx: ctx, cancel: cancel, inside: inside, bound: addrPort(inside.LocalAddr()), outside: map[bool]net.PacketConn{}}
	a.readers.Go(a.fromClient)
	for want := 1; want <= 3; want++ {
		if got := <-rules.asked; got != want {
			t.Errorf("question %d, want %d", got, want)
		}
	}
	_ = inside.Close()
	a.close()
	a.readers.Wait()
	_ = sink.SetReadDeadline(time.Now().Add(testTimeout))
	for i := range udpBatch {
		b := make([]byte, 100)
		n, err := sink.Read(b)
		if want := string(rune('a' + i)); err != nil || string(b[:n]) != want {
			t.Fatalf("got %q, %v; want %q", b[:n], err, want)
		}
	}
	if _, ok := nextSize(sink); ok {
		t.Error("a datagram went on that came after the question")
	}
}

// The datagrams of a batch lie one after the other in one buffer. None is cut.
func TestBatchFitsOneBuffer(t *testing.T) {
	const largest = 65507 // that IPv4 can carry
	one := slices.Repeat([]int{1}, udpBatch+1)
	for _, tt := range []struct {
		name    string
		sizes   []int
		batches []int // numbers of datagrams
	}{
		{"more than a batch", one, []int{udpBatch, 1}},
		{"empty ones", []int{0, 0, 5}, []int{3}},
		{"large ones", []int{30_000, 30_000, 30_000}, []int{2, 1}},
		{"the buffer is full", []int{largest, bufferSize - largest}, []int{2}},
		{"a byte too many", []int{largest, bufferSize - largest + 1}, []int{1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inside, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = inside.Close() }()
			client, err := net.DialUDP("udp4", nil, inside.LocalAddr().(*net.UDPAddr))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			var want []string
			for i, n := range tt.sizes { // all are there before the first is read
				want = append(want, strings.Repeat(string(rune('a'+i)), n))
				if _, err := client.Write([]byte(want[i])); err != nil {
					t.Fatal(err)
				}
			}
			_ = inside.SetReadDeadline(time.Now().Add(testTimeout))
			for _, n := range tt.batches {
				batch, err := readBatch(inside, nil, make([]byte, bufferSize))
				if err != nil || len(batch) != n {
					t.Fatalf("%d datagrams, %v; want %d", len(batch), err, n)
				}
				for i, d := range batch {
					if string(d.data) != want[i] || d.from != addrPort(client.LocalAddr()) {
						t.Errorf("%d bytes from %v, want %d", len(d.data), d.from, len(want[i]))
					}
				}
				want = want[n:]
			}
		})
	}
}
