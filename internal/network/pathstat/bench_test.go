package pathstat

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/policy"
)

// benchConns opens n connections over loopback without the cost of net.Conn. So there are n
// sockets at each end. The accepted ends have the address 127.93.0.1.
func benchConns(b *testing.B, n int) (closeAll func()) {
	b.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < uint64(2*n+100) {
		b.Skipf("needs %d descriptors for %d connections, and may have %d", 2*n+100, n, limit.Cur)
	}
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(err)
	addr := &unix.SockaddrInet4{Addr: [4]byte{127, 93, 0, 1}}
	check(unix.Bind(ln, addr))
	check(unix.Listen(ln, 128))
	bound, err := unix.Getsockname(ln)
	check(err)
	fds := []int{ln}
	for range n {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(err)
		check(unix.Connect(c, bound))
		s, _, err := unix.Accept(ln)
		check(err)
		fds = append(fds, c, s)
	}
	return func() {
		for _, fd := range fds[1:] {
			// Reset the connection, so that the next benchmark does not find it in
			// TIME_WAIT.
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(fd)
		}
		_ = unix.Close(ln)
	}
}

// BenchmarkPass makes a whole pass over the sockets of one managed prefix. There are as
// many again at the other ends, which are not managed. At 10 passes per second, 1 ms is 1 %
// of a core.
func BenchmarkPass(b *testing.B) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		b.Skip("needs a loopback interface")
	}
	for _, n := range []int{0, 1000, 5000} {
		for _, both := range []bool{false, true} {
			ends := map[bool]string{false: "one end", true: "both ends"}[both]
			b.Run(fmt.Sprintf("%d connections, %s", n, ends), func(b *testing.B) {
				defer benchConns(b, n)()
				s := New(Options{}, nil)
				defer func() { _, _ = s.sockets.Close(), s.links.Close() }()
				addrs := []netip.Addr{netip.MustParseAddr("127.93.0.1")}
				if both {
					addrs = append(addrs, netip.MustParseAddr("127.0.0.1"))
				}
				id := policy.PrefixID{Interface: "lo", Prefix: netip.MustParsePrefix("127.0.0.0/8")}
				s.Set([]Prefix{{ID: id, Index: lo.Index, Addrs: addrs}})
				benchPasses(b, s, id, n*len(addrs))
			})
		}
	}
}

func benchPasses(b *testing.B, s *Sampler, id policy.PrefixID, want int) {
	b.Helper()
	pass := func() {
		s.budget.cost = 0
		s.pass(Now(), DefaultInterval)
	}
	for range 3 {
		pass() // buffers grow
	}
	if got := s.Snapshot().Paths[id].Conns; got < want {
		b.Fatalf("%d connections, want %d", got, want)
	}
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	b.ReportAllocs()
	for b.Loop() {
		pass()
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()/float64(b.N)*1e6, "cpu-us/op")
}

// BenchmarkPassTimeWait makes a pass while 40 000 sockets are in TIME_WAIT. The sampler
// does not ask for these, so the kernel skips them.
func BenchmarkPassTimeWait(b *testing.B) {
	const sockets, perAddr = 40_000, 10_000
	for i := range sockets / perAddr {
		timeWait(b, [4]byte{127, 93, 1, byte(1 + i)}, perAddr)
	}
	s := New(Options{}, nil)
	defer func() { _, _ = s.sockets.Close(), s.links.Close() }()
	id := policy.PrefixID{Interface: "lo", Prefix: netip.MustParsePrefix("127.93.0.0/16")}
	s.Set([]Prefix{{ID: id, Index: 1, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}})
	benchPasses(b, s, id, 0)
}

// timeWait leaves n sockets behind that are in TIME_WAIT for a minute.
func timeWait(b *testing.B, addr [4]byte, n int) {
	b.Helper()
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: addr[:]})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for range n {
		c, err := net.DialTCP("tcp4", nil, ln.Addr().(*net.TCPAddr))
		if err != nil {
			b.Fatal(err)
		}
		s, err := ln.AcceptTCP()
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close() // who closes first waits
		_ = s.Close()
	}
}

// BenchmarkDump only reads the sockets, in each of the ways in which the kernel can be
// asked.
func BenchmarkDump(b *testing.B) {
	for _, mode := range []diagMode{diagBoth, diagEach, diagPlain} {
		name := [...]string{"both families at once", "one by one", "without filter"}[mode]
		b.Run(name, func(b *testing.B) {
			defer benchConns(b, 1000)()
			r := newDiagSockets()
			r.mode = mode
			defer func() { _ = r.Close() }()
			addrs := []netip.Addr{netip.MustParseAddr("127.93.0.1")}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Read(addrs, func() {}, func(*tcpSocket) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLinkCounters(b *testing.B) {
	for name, whole := range map[string]bool{"counters alone": false, "whole links": true} {
		b.Run(name, func(b *testing.B) {
			r := newLinkReader()
			r.whole = whole
			defer func() { _ = r.Close() }()
			for b.Loop() {
				if err := r.Read(func(int, LinkCounters) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLinkEstimator adds one slot to a link with full histories.
func BenchmarkLinkEstimator(b *testing.B) {
	e := NewLinkEstimator(DefaultInterval)
	up, bytes := time.Duration(0), uint64(1)
	add := func() {
		up += DefaultInterval
		bytes += uint64(up/DefaultInterval) * 7919 % 10007
		e.Add(at(up), LinkCounters{RxBytes: bytes, TxBytes: bytes}, DefaultInterval)
	}
	for range 7000 {
		add()
	}
	b.ReportAllocs()
	for b.Loop() {
		add()
		_ = e.Stats()
	}
}

// BenchmarkWith asks for what programs have reported, as each decision does for each
// prefix, from all processors at once: where no program reports anything, where only those
// of another user do, and for a destination that has been reported.
func BenchmarkWith(b *testing.B) {
	over := policy.PrefixID{Interface: "wlan0"}
	remote := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name string
		uids []uint32 // who reports
	}{{"nobody", nil}, {"another", []uint32{1001}}, {"same", []uint32{1000, 1001}}} {
		b.Run(tt.name, func(b *testing.B) {
			r := NewReports(nil)
			r.Set([]Prefix{{ID: over}})
			for _, uid := range tt.uids {
				r.Add(uid, &FlowReport{Over: over, Remote: remote, Port: 1, RTT: 10 * time.Millisecond, Sent: 100})
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = r.With(policy.PathStats{}, 1000, over, remote)
				}
			})
		})
	}
}

// countingWatcher follows some connections.
type countingWatcher struct{ follow, n int }

func (w *countingWatcher) Begin() { w.n = 0 }
func (w *countingWatcher) Connection(policy.PrefixID, *Connection) bool {
	w.n++
	return w.n <= w.follow
}
func (w *countingWatcher) Ended(policy.PrefixID, *Connection) {}
func (w *countingWatcher) End(time.Time, bool)                {}
func (w *countingWatcher) Fail()                              {}
func (w *countingWatcher) Following() bool                    { return true }

// BenchmarkFollow makes a pass for a watcher that follows some of the connections: by a dump, and
// where the kernel tells by itself which connections there are. What it takes to read that is not
// in it (BenchmarkFlows of internal/scopes/hook).
func BenchmarkFollow(b *testing.B) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		b.Skip("needs a loopback interface")
	}
	for _, n := range []int{100, 1000, 9_900} {
		for _, follow := range []int{-1, 0, 10, 100, maxAsked} {
			if follow > n {
				continue
			}
			how := fmt.Sprintf("%d followed", follow)
			if follow < 0 {
				how = "dump"
			}
			b.Run(fmt.Sprintf("%d connections/%s", n, how), func(b *testing.B) {
				defer benchConns(b, n)()
				w := &countingWatcher{follow: follow}
				var flows []Observed
				s := New(Options{Watcher: w, CPU: 1, Observe: func(visit func(*Observed)) bool {
					for i := range flows {
						visit(&flows[i])
					}
					return follow >= 0
				}}, nil)
				defer func() { _, _, _, _ = s.sockets.Close(), s.single.Close(), s.ended.Close(), s.links.Close() }()
				addr := netip.MustParseAddr("127.93.0.1")
				if _, err := s.sockets.Read([]netip.Addr{addr}, func() { flows = nil }, func(c *tcpSocket) {
					if c.Local == addr.As16() {
						o := observedOf(*c)
						o.LocalPort, o.RemotePort = c.LocalPort, c.RemotePort
						flows = append(flows, o)
					}
				}); err != nil || len(flows) < n {
					b.Fatal(len(flows), err)
				}
				id := policy.PrefixID{Interface: "lo", Prefix: netip.MustParsePrefix("127.0.0.0/8")}
				s.Set([]Prefix{{ID: id, Index: lo.Index, Addrs: []netip.Addr{addr}}})
				s.pass(Now(), DefaultInterval)
				dumped := s.budget.last
				keep := s.budget.last != 0 && follow >= 0
				var before, after unix.Rusage
				_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
				b.ReportAllocs()
				for b.Loop() {
					now := Now()
					s.budget.cost, s.observed.budget.cost = 0, 0
					if keep { // the next dump is far
						s.budget.last, dumped = now.Up, now.Up
					}
					s.pass(now, DefaultInterval)
					if keep && s.budget.last != dumped {
						b.Fatal("a dump")
					}
				}
				_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
				if w.n < n {
					b.Fatal(w.n)
				}
				cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
				b.ReportMetric(cpu.Seconds()/float64(b.N)*1e3, "cpu-ms/op")
			})
		}
	}
}
