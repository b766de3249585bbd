package socks

import (
	"context"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// brokenSocket cannot send.
type brokenSocket struct {
	net.PacketConn
	err error
}

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
