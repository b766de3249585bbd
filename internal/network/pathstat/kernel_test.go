package pathstat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/socket-intents/mamma/policy"
)

// pair is an open connection over loopback, both ends in this process.
type pair struct{ client, server net.Conn }

// connect opens n connections to a listener of the given network and address.
func connect(t testing.TB, network, listen, dial string, n int) []pair {
	t.Helper()
	ln, err := net.Listen(network, listen)
	if err != nil {
		t.Skipf("needs %s on loopback: %v", network, err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
	target := netip.AddrPortFrom(netip.MustParseAddr(dial), port).String()
	pairs := make([]pair, n)
	for i := range pairs {
		c, err := net.Dial("tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		pairs[i] = pair{c, s}
	}
	return pairs
}

// count reads the sockets of the kernel and counts those with a round-trip time
// by local address.
func count(t testing.TB, r *diagSockets, addrs ...netip.Addr) map[netip.Addr]int {
	t.Helper()
	var n map[netip.Addr]int
	_, err := r.Read(addrs, func() { n = map[netip.Addr]int{} }, func(s *tcpSocket) {
		if s.Sample.RTT > 0 {
			n[netip.AddrFrom16(s.Local).Unmap()]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDiagCountsConnections(t *testing.T) {
	// Nothing else uses these addresses of 127.0.0.0/8, so they tell our sockets from
	// others.
	four, other, mapped := netip.MustParseAddr("127.91.0.1"), netip.MustParseAddr("127.91.0.2"), netip.MustParseAddr("127.91.0.3")
	six := netip.IPv6Loopback()
	connect(t, "tcp4", "127.91.0.1:0", "127.91.0.1", 3)
	connect(t, "tcp4", "127.91.0.2:0", "127.91.0.2", 2)
	// The listener has an IPv6 socket for both families, so that the accepted
	// ends carry the mapped address.
	connect(t, "tcp", "[::]:0", "127.91.0.3", 4)
	connect(t, "tcp6", "[::1]:0", "::1", 2)
	for name, mode := range map[string]diagMode{"both families at once": diagBoth, "one by one": diagEach, "without filter": diagPlain} {
		t.Run(name, func(t *testing.T) {
			r := newDiagSockets()
			r.mode = mode
			t.Cleanup(func() { _ = r.Close() })
			got := count(t, r, four, mapped, six)
			if r.mode != mode {
				t.Errorf("the kernel refused mode %d", mode)
			}
			// net.Dial takes 127.0.0.1 as its source, so only the accepted ends have the
			// listener's address.
			if got[four] != 3 || got[mapped] != 4 {
				t.Errorf("%d and %d connections, want 3 and 4, and no listening socket", got[four], got[mapped])
			}
			// Both ends are ::1, which others on this host may use, too.
			if got[six] < 4 {
				t.Errorf("%d sockets over IPv6, want at least 4", got[six])
			}
			if n := got[other]; n != 0 && mode != diagPlain {
				t.Errorf("%d connections of an address that was not asked for", n)
			}
		})
	}
}

func TestLinkCountersOfKernel(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("needs a loopback interface: %v", err)
	}
	for name, whole := range map[string]bool{"counters alone": false, "whole links": true} {
		t.Run(name, func(t *testing.T) {
			r := newLinkReader()
			r.whole = whole
			t.Cleanup(func() { _ = r.Close() })
			// Others may use loopback, too, so the counter of sysfs lies between two of
			// ours.
			read := func() (c LinkCounters) {
				found := false
				err := r.Read(func(index int, l LinkCounters) {
					if index == lo.Index {
						c, found = l, true
					}
				})
				if err != nil || !found {
					t.Fatalf("found %v, error %v", found, err)
				}
				return c
			}
			before := read()
			text, err := os.ReadFile("/sys/class/net/lo/statistics/rx_bytes")
			if err != nil {
				t.Skipf("needs sysfs: %v", err)
			}
			after := read()
			n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if n < before.RxBytes || n > after.RxBytes {
				t.Errorf("kernel says %d, we %d and %d", n, before.RxBytes, after.RxBytes)
			}
			if r.whole != whole {
				t.Error("the kernel refused RTM_GETSTATS")
			}
		})
	}
}

// onLoopback runs a sampler of an address of loopback until the test ends. After each
// snapshot the sampler waits until it may go on.
func onLoopback(t *testing.T, address string) (id policy.PrefixID, snapshots <-chan *Snapshot, goOn chan<- struct{}) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("needs a loopback interface: %v", err)
	}
	addr := netip.MustParseAddr(address)
	prefix, err := addr.Prefix(16)
	if err != nil {
		t.Fatal(err)
	}
	id = policy.PrefixID{Interface: "lo", Prefix: prefix}
	told, next := make(chan *Snapshot), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	s := New(Options{Interval: MinInterval, MaxInterval: -1, OnSnapshot: func(snap *Snapshot) {
		select {
		case told <- snap:
		case <-ctx.Done():
		}
		select {
		case <-next:
		case <-ctx.Done():
		}
	}}, nil)
	s.Set([]Prefix{{ID: id, Index: lo.Index, Addrs: []netip.Addr{addr}}})
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return id, told, next
}

// On this kernel, a sampler counts connections exactly, and the pass after they have gone
// shows it.
func TestSamplerOnKernel(t *testing.T) {
	pairs := connect(t, "tcp4", "127.92.0.1:0", "127.92.0.1", 5)
	id, snapshots, goOn := onLoopback(t, "127.92.0.1")
	await := func(conns int) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case goOn <- struct{}{}:
			case snap := <-snapshots:
				p := snap.Paths[id]
				if p.Conns != conns {
					continue
				}
				if p.SRTTMin <= 0 || p.SRTTMin > time.Second || snap.Links["lo"].DownBytes == 0 {
					t.Errorf("figures: %+v, %+v", p, snap.Links["lo"])
				}
				if got := snap.Destination(id, netip.MustParseAddr("127.0.0.77")).Conns; got != conns {
					t.Errorf("%d connections to 127.0.0.0/24, want %d", got, conns)
				}
				return
			case <-deadline:
				t.Fatalf("no pass with %d connections", conns)
			}
		}
	}
	await(5)
	for _, p := range pairs[:2] {
		// Reset the connection, so that no half-closed socket remains.
		_ = p.server.(*net.TCPConn).SetLinger(0)
		_ = p.server.Close()
	}
	await(3)
}
