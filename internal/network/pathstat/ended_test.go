package pathstat

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policy"
)

// Connections that end between two passes count for the minimum, and are told for a second.
func TestEndedConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan Ended, 16)
		b := start(t, Options{Interval: 100 * time.Millisecond, MaxInterval: -1, OnEnded: func(e Ended) { told <- e }}, nil)
		b.Set(home)
		remote := netip.MustParseAddr("192.0.2.1")
		elsewhere := conn("10.9.9.9", "192.0.2.1", 1, 3)
		elsewhere.Cookie, elsewhere.BytesSent, elsewhere.BytesReceived = 7, 20, 3
		silent := conn("10.0.1.2", "192.0.2.1", 1, 3)
		silent.Heard = uint32((endedFresh + time.Millisecond) / time.Millisecond)
		b.kernel.ended = []tcpSocket{
			conn("10.0.1.2", "192.0.2.1", 30, 3), conn("10.0.1.3", "192.0.2.1", 20, 3), conn("10.0.1.2", "198.51.100.1", 10, 3),
			conn("10.0.1.2", "192.0.2.1", 0, 1), // was refused
			silent,
			conn("10.0.1.2", "10.0.1.3", 1, 3), // stayed on this host
			elsewhere,
		}
		b.wait(150 * time.Millisecond)
		for range 6 { // none of them has a cookie
			if e := <-told; e != (Ended{}) {
				t.Errorf("told of %+v", e)
			}
		}
		if got, want := <-told, (Ended{Cookie: 7, Sent: 20, Received: 3}); got != want {
			t.Errorf("told of %+v, want %+v", got, want)
		}
		at := b.Snapshot().Time
		want := policy.PathStats{Time: at, SampleTime: at, SRTTMean: 10 * time.Millisecond, SRTTMedian: 10 * time.Millisecond, SRTTMin: 10 * time.Millisecond}
		if diff := cmp.Diff(want, b.Snapshot().Paths[eth]); diff != "" {
			t.Errorf("figures of the network (-want +got):\n%s", diff)
		}
		want.SRTTMean, want.SRTTMedian, want.SRTTMin = 20*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
		if diff := cmp.Diff(want, b.Snapshot().Destination(eth, remote)); diff != "" {
			t.Errorf("figures of the destination (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[policy.PrefixID]time.Duration{eth: 20 * time.Millisecond}, b.Snapshot().Ended); diff != "" {
			t.Errorf("what has ended (-want +got):\n%s", diff)
		}
		// Where a connection lives, only the minimum has those that have ended.
		b.kernel.sockets = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 40, 1)}
		b.kernel.ended = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 5, 3)}
		b.wait(100 * time.Millisecond)
		p := b.Snapshot().Paths[eth]
		if p.Conns != 1 || p.SRTTMedian != 40*time.Millisecond || p.SRTTMin != 5*time.Millisecond {
			t.Errorf("with a live connection: %+v", p)
		}
		b.kernel.sockets = nil
		b.wait(endedSpan)
		if e := b.Snapshot().Ended; len(e) != 0 {
			t.Errorf("a second later %v have ended", e)
		}
		b.kernel.ended = []tcpSocket{conn("10.0.1.2", "192.0.2.1", 7, 3)}
		b.wait(100 * time.Millisecond)
		if got := b.Snapshot().Of([]Prefix{{ID: eth, Stay: 1}}).Ended; len(got) != 0 {
			t.Errorf("of a new attachment, %v have ended", got)
		}
		// The minimum expires as that of live connections does.
		b.wait(History)
		if got := b.Snapshot().Paths[eth].SRTTMin; got != 0 {
			t.Errorf("ten minutes later the minimum is %v", got)
		}
	})
}

// A connection that ended before a network was there says nothing about it, even if it
// heard something up to its end. The kernel may tell it some time later.
func TestEndedOverTheNetworkBefore(t *testing.T) {
	st := newState(100*time.Millisecond, 4, nil, nil)
	now := Instant{Wall: time.Now(), Up: time.Minute}
	st.set(now, &home)
	again := slices.Clone(home)
	again[0].Stay = 1
	now.Up += time.Minute
	st.set(now, &again)
	began := now.Up
	for _, tt := range []struct {
		after, heard time.Duration
		counts       bool
	}{
		{0, 0, false},
		{100 * time.Millisecond, 0, false},
		{endedLate, 0, false},
		{endedLate + 100*time.Millisecond, 100 * time.Millisecond, false},
		{time.Second, 900 * time.Millisecond, false},
		{endedLate + time.Millisecond, 0, true},
		{time.Second, 100 * time.Millisecond, true},
	} {
		now.Up = began + tt.after
		s := conn("10.0.1.2", "192.0.2.1", 10, 1)
		s.Heard = uint32(tt.heard / time.Millisecond)
		before := st.ends
		if st.ended(now, &s); (st.ends > before) != tt.counts {
			t.Errorf("%v after the beginning, silent for %v: counts %v, want %v", tt.after, tt.heard, !tt.counts, tt.counts)
		}
	}
}

// The minimum of a destination to which connections are short only is that of the last ten
// minutes, too.
func TestEndedMinimumExpires(t *testing.T) {
	st := newState(100*time.Millisecond, 4, nil, nil)
	now := Instant{Wall: time.Now(), Up: time.Second}
	st.set(now, &home)
	least := func() time.Duration {
		return st.snapshot(now).Destination(eth, netip.MustParseAddr("192.0.2.1")).SRTTMin
	}
	for minute := range 15 {
		s := conn("10.0.1.2", "192.0.2.1", 10+uint32(minute), 1)
		st.ended(now, &s)
		if want := time.Duration(10+max(0, minute-9)) * time.Millisecond; least() != want {
			t.Errorf("minute %d: %v, want %v", minute, least(), want)
		}
		now.Up, now.Wall = now.Up+time.Minute, now.Wall.Add(time.Minute)
	}
}

// However many connections end, what is kept of them is bounded.
func TestEndedIsBounded(t *testing.T) {
	st := newState(100*time.Millisecond, 4, nil, nil)
	now := Instant{Wall: time.Now(), Up: time.Second}
	st.set(now, &home)
	for i := range 10 * maxEnded {
		s := conn("10.0.1.2", "192.0.2.1", 10, 1)
		s.Remote = netip.AddrFrom4([4]byte{192, 0, byte(i), 1}).As16()
		st.ended(now, &s)
	}
	if p := st.paths[eth]; len(p.ended) != maxEnded || len(st.dests.index) != 4 {
		t.Errorf("%d connections and %d destinations are kept", len(p.ended), len(st.dests.index))
	}
}

// The kernel tells the figures of connections that live for less than a pass.
func TestKernelTellsWhatEnded(t *testing.T) {
	r := newEndedSockets()
	t.Cleanup(func() { _ = r.Close() })
	if err := r.Read(func(*tcpSocket) {}); err != nil {
		t.Fatal(err)
	}
	const data = 3000
	sent := map[uint64]uint64{} // by each socket that lives
	for _, p := range connect(t, "tcp4", "127.94.0.1:0", "127.94.0.1", 3) {
		sent[cookie(t, p.client)], sent[cookie(t, p.server)] = data, 0
		_, err := p.client.Write(make([]byte, data))
		_, err2 := io.ReadFull(p.server, make([]byte, data))
		if err := errors.Join(err, err2, p.client.Close(), p.server.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for len(sent) > 0 {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 10_000)
		if n == 0 {
			t.Fatalf("of 6 sockets, %d are not told", len(sent))
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		if err := r.Read(func(s *tcpSocket) {
			want, ours := sent[s.Cookie]
			if !ours {
				return
			}
			delete(sent, s.Cookie)
			received := data - want // and the peer's FIN
			if s.Sample.RTT == 0 || s.BytesSent != want || s.BytesReceived < received || s.BytesReceived > received+1 {
				t.Errorf("a socket that has sent %d bytes: %+v", want, s)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// cookie returns the number by which the kernel tells sockets apart (SO_COOKIE).
func cookie(t *testing.T, c net.Conn) (n uint64) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(raw.Control(func(fd uintptr) { n, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) }), err); err != nil {
		t.Fatal(err)
	}
	return n
}

// A sampler knows the round-trip times of connections that have ended before any pass saw
// them.
func TestSamplerSeesShortConnections(t *testing.T) {
	id, snapshots, goOn := onLoopback(t, "127.95.0.1")
	// The sampler waits until it may go on, so these connections live and end between two
	// passes.
	<-snapshots
	for _, p := range connect(t, "tcp4", "127.95.0.1:0", "127.95.0.1", 3) {
		for _, c := range []net.Conn{p.client, p.server} {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}
	deadline := time.After(10 * time.Second)
	for {
		select {
		case goOn <- struct{}{}:
		case snap := <-snapshots:
			p := snap.Paths[id]
			if p.Conns > 0 {
				t.Fatal("a pass has seen the connections")
			}
			if snap.Ended[id] == 0 {
				continue
			}
			if p.SRTTMin <= 0 || p.SRTTMin > time.Second || p.SampleTime.IsZero() {
				t.Errorf("figures: %+v", p)
			}
			if got := snap.Destination(id, netip.MustParseAddr("127.0.0.77")); got.SRTTMin <= 0 {
				t.Errorf("figures of 127.0.0.0/24: %+v", got)
			}
			return
		case <-deadline:
			t.Fatal("nothing is known of the connections")
		}
	}
}
