package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/generation"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// lessor is a manager that grants leases, with a Dialer that asks it.
type lessor struct {
	*rawmanager.Daemon
	dialer *Dialer
	port   string // port of a server at every address of this host
	change func(*wire.Message)
}

// startLessor starts a manager that suggests 127.0.0.2, with 127.0.0.3 as an alternate.
// The leases hold as long as the generations of both networks, 2 and 3, do not change.
func startLessor(t testing.TB, change func(*wire.Message)) *lessor {
	t.Helper()
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // stays open until the client closes it
				_, _ = nc.Read(make([]byte, 1))
				_ = nc.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	l := &lessor{change: change}
	_, l.port, _ = net.SplitHostPort(ln.Addr().String())
	script := rawmanager.Suggest("127.0.0.2", "127.0.0.3")
	ready := make(chan struct{})
	l.Daemon = rawmanager.Start(t, "", false, func(m *wire.Message) bool {
		<-ready
		idle := len(m.Sockets) > 0 && m.Action == wire.ActionSocketChooseRequest
		ok := script(m)
		if m.Action != wire.ActionReportResponse && m.Action != wire.ActionResolveResponse {
			m.Lease = l.Lease(time.Hour)
			m.Lease.Networks = []wire.Generation{{Index: 2, Value: l.Page.Load(2)}, {Index: 3, Value: l.Page.Load(3)}}
			if idle {
				m.Action, m.DecisionID = wire.ActionSocketChooseExisting, uuid.New()
				m.Context, m.Sockets = m.Sockets[0].Context, m.Sockets[:1]
				m.Alternates = nil
			}
			if l.change != nil {
				l.change(m)
			}
		}
		return ok
	})
	close(ready)
	l.dialer = &Dialer{Daemon: &Daemon{Path: l.Path, DecisionTimeout: 10 * time.Second}}
	t.Cleanup(func() { _ = l.dialer.Daemon.Close() })
	return l
}

// asked returns how many decisions clients have asked for.
func (l *lessor) asked() int {
	return len(slices.DeleteFunc(l.Requests(), func(m wire.Message) bool { return m.Action == wire.ActionResolveRequest }))
}

func (l *lessor) address() string { return "127.0.0.1:" + l.port }

func (l *lessor) dial(t testing.TB, ctx context.Context, network, address string) Info { //nolint:revive // as in every test
	t.Helper()
	nc, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := InfoOf(nc)
	_ = nc.Close()
	return info
}

// uses returns the connections by leases that the manager was told of.
func (l *lessor) uses(t testing.TB) (uses, connected uint32) {
	t.Helper()
	if err := l.dialer.Daemon.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range l.All() {
		for _, u := range m.Leased {
			uses += u.Uses
			connected += u.Connected
		}
	}
	return uses, connected
}

func TestLease(t *testing.T) {
	l := startLessor(t, nil)
	ctx := t.Context()
	first := l.dial(t, ctx, "tcp", l.address())
	for range 5 {
		info := l.dial(t, ctx, "tcp", l.address())
		info.Local, info.Duration = first.Local, first.Duration
		if diff := cmp.Diff(first, info, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Fatalf("by the lease (-first +next)\n%s", diff)
		}
	}
	if n := l.asked(); n != 1 {
		t.Errorf("asked %d times for 6 connections", n)
	}
	if uses, connected := l.uses(t); uses != 5 || connected != 5 {
		t.Errorf("%d uses, %d of them connected; want 5 of 5", uses, connected)
	}
	if uses, _ := l.uses(t); uses != 5 {
		t.Errorf("%d uses are told: some twice", uses)
	}
}

// A request that the class of a lease does not cover is asked about.
func TestLeaseKey(t *testing.T) {
	l := startLessor(t, nil)
	query, bulk := intent.Set{}.WithCategory(intent.CategoryQuery), intent.Set{}.WithCategory(intent.CategoryBulkTransfer)
	base := intent.NewContext(t.Context(), query)
	as := func(o Origin) context.Context { return WithOrigin(base, o) }
	wants := func(p SelectionProperties) context.Context { return WithSelection(base, p) }
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 4)}
	for _, tt := range []struct {
		name    string
		ctx     context.Context
		network string
		host    string
		bound   net.Addr
	}{
		{"first", base, "tcp", "127.0.0.1", nil},
		{"other intents", intent.NewContext(t.Context(), bulk), "tcp", "127.0.0.1", nil},
		{"no intents", t.Context(), "tcp", "127.0.0.1", nil},
		{"one family", base, "tcp4", "127.0.0.1", nil},
		{"datagrams", base, "udp", "127.0.0.1", nil},
		{"another address", base, "tcp", "127.0.0.9", nil},
		{"a name", base, "tcp", "one.test", nil},
		{"another name", base, "tcp", "two.test", nil},
		{"a user", as(Origin{UID: 1000, PID: 1, Command: "curl", Source: "client"}), "tcp", "127.0.0.1", nil},
		{"another user", as(Origin{UID: 1001, PID: 1, Command: "curl", Source: "client"}), "tcp", "127.0.0.1", nil},
		{"another process", as(Origin{UID: 1000, PID: 2, Command: "curl", Source: "client"}), "tcp", "127.0.0.1", nil},
		{"another program", as(Origin{UID: 1000, PID: 1, Command: "wget", Source: "client"}), "tcp", "127.0.0.1", nil},
		{"another rule", as(Origin{UID: 1000, PID: 1, Command: "curl", Source: "rule web"}), "tcp", "127.0.0.1", nil},
		{"a selection", wants(SelectionProperties{}.WithCost(CostFree, Prefer)), "tcp", "127.0.0.1", nil},
		{"another selection", wants(SelectionProperties{}.WithNetwork("home", Avoid)), "tcp", "127.0.0.1", nil},
		{"bound", base, "tcp", "127.0.0.1", bound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.dialer.Net.LocalAddr = tt.bound
			for want := range 2 {
				before := l.asked()
				l.dial(t, tt.ctx, tt.network, net.JoinHostPort(tt.host, l.port))
				if n := l.asked() - before; n != 1-want {
					t.Errorf("asked %d times for dial %d", n, want)
				}
			}
		})
	}
}

// The manager can widen the class.
func TestLeaseClass(t *testing.T) {
	size := func(n int64) intent.Set { return intent.Set{}.WithFileSize(n) }
	l := startLessor(t, func(m *wire.Message) {
		m.Lease.Flags = wire.LeaseAnyName
		m.Lease.Ignored = 1<<intent.OptCategory | 1<<intent.OptFileSize
		m.Lease.SizeFrom, m.Lease.SizeTo = 10, 20
	})
	dial := func(host string, s intent.Set) int {
		before := l.asked()
		l.dial(t, intent.NewContext(t.Context(), s), "tcp", net.JoinHostPort(host, l.port))
		return l.asked() - before
	}
	for _, tt := range []struct {
		name, host string
		intents    intent.Set
		asked      int
	}{
		{"first", "one.test", size(15), 1},
		{"another name and size", "two.test", size(20), 0},
		{"an ignored intent", "two.test", size(10).WithCategory(intent.CategoryStream), 0},
		{"a larger size", "one.test", size(21), 1},
		{"no size", "one.test", intent.Set{}, 1},
		{"another intent", "one.test", size(15).WithTimeliness(intent.TimelinessTransfer), 1},
		{"an address", "127.0.0.1", size(15), 1},
		{"another address", "127.0.0.9", size(15), 1},
	} {
		if n := dial(tt.host, tt.intents); n != tt.asked {
			t.Errorf("%s: asked %d times, want %d", tt.name, n, tt.asked)
		}
	}
}

func TestLeaseEnds(t *testing.T) {
	short := func(f func(*wire.Lease)) func(*wire.Message) { return func(m *wire.Message) { f(m.Lease) } }
	for _, tt := range []struct {
		name   string
		change func(*wire.Message)
		event  func(*lessor) // happens between two dials
		asked  int           // questions for three dials
	}{
		{"nothing happens", nil, func(*lessor) {}, 1},
		{"the view", nil, func(l *lessor) { l.Page.Raise(generation.View) }, 3},
		{"its network", nil, func(l *lessor) { l.Page.Raise(2) }, 3},
		{"another network", nil, func(l *lessor) { l.Page.Raise(4) }, 1},
		{"the alternate", nil, func(l *lessor) { l.Page.Raise(3) }, 1},
		{"a measurement that does not matter", nil, func(l *lessor) { l.Page.Raise(generation.Measurements) }, 1},
		{"a measurement", func(m *wire.Message) { m.Lease.Measurements = 1 }, func(l *lessor) { l.Page.Store(generation.Measurements, 2) }, 3},
		{"uses", short(func(l *wire.Lease) { l.Uses = 1 }), func(*lessor) {}, 2},
		{"bytes", short(func(l *wire.Lease) { l.Bytes = 1500 }), func(*lessor) {}, 2},
		{"time", short(func(l *wire.Lease) { l.Milliseconds = 0 }), func(*lessor) {}, 3},
		{"none was granted", func(m *wire.Message) { m.Lease = nil }, func(*lessor) {}, 3},
		{"no id to report by", func(m *wire.Message) { m.DecisionID = uuid.Nil }, func(*lessor) {}, 3},
		{"an index that no page has", short(func(l *wire.Lease) { l.Networks[0].Index = 1 << 31 }), func(*lessor) {}, 3},
		{"no networks", short(func(l *wire.Lease) { l.Networks = nil }), func(*lessor) {}, 1},
		{"no leases are kept", nil, func(l *lessor) { l.dialer.Daemon.MaxLeases = -1 }, 3},
		{"closed", nil, func(l *lessor) { _ = l.dialer.Daemon.Close() }, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := startLessor(t, tt.change)
			if tt.name == "no leases are kept" {
				l.dialer.Daemon.MaxLeases = -1
			}
			l.dialer.Intents = intent.Set{}.WithFileSize(1000)
			for range 3 {
				if info := l.dial(t, t.Context(), "tcp", l.address()); info.Source.String() != "127.0.0.2" {
					t.Errorf("from %v: %v", info.Source, info.Err)
				}
				tt.event(l)
			}
			if n := l.asked(); n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// An alternate that has failed meanwhile is not tried. The others keep their numbers.
func TestLeaseLeavesOutFailedAlternates(t *testing.T) {
	l := startLessor(t, func(m *wire.Message) {
		m.Context.OptionsSuggested = []wire.SockOpt{{Level: wire.SolSocket, Name: wire.SoBindToDevice, Value: []byte("nosuchdevice")}} // fails at once
		m.Alternates = append(m.Alternates, wire.Alternate{Local: rawmanager.Addr("127.0.0.4"), Protocol: wire.ProtoTCP})
		m.Lease.Networks = append(m.Lease.Networks, wire.Generation{Index: 4, Value: 1})
	})
	ctx := t.Context()
	decide := func() *Decision {
		d, err := l.dialer.Decide(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := decide(); len(d.plan.candidates) != 3 || d.plan.lease != nil {
		t.Fatalf("%d candidates", len(d.plan.candidates))
	}
	l.Page.Raise(3)
	d := decide()
	if d.plan.lease == nil || len(d.plan.candidates) != 2 || d.plan.candidates[1].index != 2 {
		t.Fatalf("candidates %+v", d.plan.candidates)
	}
	nc, err := d.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := InfoOf(nc)
	_ = nc.Close()
	if info.Candidate != 2 || info.Source.String() != "127.0.0.4" {
		t.Errorf("%v from %v", info.Candidate, info.Source)
	}
	// The first choice has failed, so the manager is asked about the next connection.
	if d := decide(); d.plan.lease != nil {
		t.Error("the lease is followed on")
	}
}

// A manager that is killed cannot end its leases. The end of its connection does.
func TestLeaseOfKilledManager(t *testing.T) {
	l := startLessor(t, nil)
	ctx := t.Context()
	l.dial(t, ctx, "tcp", l.address())
	l.Stop()
	l.dialer.Daemon.leases.alive = time.Time{} // a tenth of a second has passed
	if info := l.dial(t, ctx, "tcp", l.address()); info.Decided || info.Err == nil {
		t.Errorf("decided %v, because of %v", info.Decided, info.Err)
	}
}

// Another manager in its place has generations of its own, even if their numbers are
// equal.
func TestLeaseOfAnotherManager(t *testing.T) {
	l := startLessor(t, nil)
	ctx := t.Context()
	l.dial(t, ctx, "tcp", l.address())
	path := l.Path
	l.Stop()
	other := rawmanager.Start(t, path, false, rawmanager.Suggest("127.0.0.5"))
	if err := l.dialer.Daemon.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if info := l.dial(t, ctx, "tcp", l.address()); info.Source.String() != "127.0.0.5" || len(other.Requests()) != 1 {
		t.Errorf("from %v, the other one was asked %d times", info.Source, len(other.Requests()))
	}
}

func TestLeasesAreBounded(t *testing.T) {
	l := startLessor(t, nil)
	d := l.dialer.Daemon
	d.MaxLeases = 3
	ctx := t.Context()
	for i := range 5 {
		l.dial(t, ctx, "tcp", fmt.Sprintf("127.0.0.%d:%s", 10+i%4, l.port))
	}
	if n := d.leases.all.Len(); n != 3 || len(d.leases.byKey) != 3 {
		t.Errorf("%d leases by %d keys, want 3", n, len(d.leases.byKey))
	}
	// The least recently used lease is gone. Address 10 was used last.
	before := l.asked()
	l.dial(t, ctx, "tcp", "127.0.0.10:"+l.port)
	l.dial(t, ctx, "tcp", "127.0.0.13:"+l.port)
	if n := l.asked() - before; n != 0 {
		t.Errorf("asked %d times for what was used last", n)
	}
	l.dial(t, ctx, "tcp", "127.0.0.11:"+l.port)
	if n := l.asked() - before; n != 1 {
		t.Errorf("asked %d times for what was forgotten", n)
	}
	for i := range 2 * maxAlike {
		l.dialer.Intents = intent.Set{}.WithFileSize(int64(i))
		d.MaxLeases = 1000
		l.dial(t, ctx, "tcp", "127.0.0.11:"+l.port)
	}
	for _, list := range d.leases.byKey {
		if len(list) > maxAlike {
			t.Errorf("%d leases for one destination", len(list))
		}
	}
	// Nobody takes these reports, so their number must be bounded, too.
	for range 2 * maxUntold {
		d.connected(uuid.New(), time.Second)
	}
	if n := len(d.leases.untold); n > maxUntold {
		t.Errorf("%d decisions to tell of", n)
	}
	clear(d.leases.untold)
}

// A failure is still reported at once and singly.
func TestLeaseFailure(t *testing.T) {
	l := startLessor(t, nil)
	closed := "127.0.0.1:1"
	for range 2 {
		_, _ = l.dialer.DialContext(t.Context(), "tcp", closed)
	}
	uses, connected := l.uses(t)
	failed := 0
	for _, m := range l.All() {
		if o := m.Outcome; o != nil && o.Candidate == 0 && o.Errno == int32(unix.ECONNREFUSED) {
			failed++
		}
	}
	if uses != 1 || connected != 0 || failed != 2 {
		t.Errorf("%d uses, %d connected, %d failures; want 1, 0, 2", uses, connected, failed)
	}
}

func TestPoolLease(t *testing.T) {
	l := startLessor(t, nil)
	p := &Pool{Dialer: l.dialer}
	defer func() { _ = p.Close() }()
	ctx := t.Context()
	var ids []DecisionID
	for i := range 6 {
		c, err := p.Get(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		if c.Reused() != (i > 0) || !c.info.Decided {
			t.Errorf("%d: reused %v, decided %v", i, c.Reused(), c.info.Decided)
		}
		ids = append(ids, c.info.ID)
		_ = c.Release()
	}
	if n := l.asked(); n != 2 || ids[1] != ids[5] || ids[0] == ids[1] {
		t.Errorf("asked %d times for a new connection and five uses; ids %v", n, ids)
	}
	// Of two connections on the same network, the first one offered is used.
	a, err := p.GetNew(ctx, "tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Release()
	before := l.asked()
	c, err := p.Get(ctx, "tcp", l.address())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Reused() || c == a || l.asked() != before {
		t.Errorf("reused %v, the later one %v; asked %d times", c.Reused(), c == a, l.asked()-before)
	}
	_ = c.Release()
}

// An idle connection on another network makes a different question.
func TestPoolLeaseByNetworks(t *testing.T) {
	source := "127.0.0.2"
	l := startLessor(t, func(m *wire.Message) {
		if m.Action == wire.ActionSocketConnectResponse {
			m.Context.BindSuggested, m.Lease = rawmanager.Addr(source), nil
		}
	})
	p := &Pool{Dialer: l.dialer}
	defer func() { _ = p.Close() }()
	ctx := t.Context()
	open := func() {
		c, err := p.GetNew(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Release()
	}
	reuse := func() int {
		before := l.asked()
		c, err := p.Get(ctx, "tcp", l.address())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // leaves the other one
		return l.asked() - before
	}
	open()
	if n := reuse(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	open()
	if n := reuse(); n != 0 {
		t.Errorf("asked %d times for the same", n)
	}
	source = "127.0.0.4"
	open()
	if n := reuse(); n != 1 {
		t.Errorf("asked %d times about another network", n)
	}
}

// If a manager hands over something other than a page, it grants no leases and does no
// harm.
func TestHostilePage(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	shrinks, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(shrinks) }()
	if err := unix.Ftruncate(shrinks, generation.Size); err != nil {
		t.Fatal(err)
	}
	for name, rights := range map[string][]byte{
		"device": unix.UnixRights(int(null.Fd())), "not sealed": unix.UnixRights(shrinks), "several": unix.UnixRights(int(null.Fd()), shrinks, shrinks),
		"nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: t.TempDir() + "/mamma.sock", Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			done := make(chan struct{})
			go func() {
				defer close(done)
				nc, err := ln.AcceptUnix()
				if err != nil {
					return
				}
				defer func() { _ = nc.Close() }()
				r := wire.NewReader(nc)
				answer := rawmanager.Suggest("127.0.0.2")
				for {
					var m wire.Message
					if r.Read(&m) != nil {
						return
					}
					if m.Action != wire.ActionErrorUnknownRequest {
						answer(&m)
						m.Lease = &wire.Lease{Milliseconds: 1 << 31}
					}
					m.Context.ID, m.Features, m.NoResolve, m.Leased = uuid.UUID{1}, features, false, nil
					b, err := m.Append(nil)
					if err != nil {
						return
					}
					if _, _, err := nc.WriteMsgUnix(b, rights, nil); err != nil {
						return
					}
				}
			}()
			d := &Daemon{Path: ln.Addr().String(), DecisionTimeout: 10 * time.Second}
			before := openFiles(t)
			for range 3 {
				dec, err := (&Dialer{Daemon: d}).Decide(t.Context(), "tcp", "127.0.0.1:80")
				if err != nil || dec.Err() != nil {
					t.Fatal(err, dec.Err())
				}
				if dec.plan.lease != nil {
					t.Error("a lease is followed")
				}
			}
			if n := openFiles(t) - before; n > 2 { // both ends of the connection
				t.Errorf("%d files more are open", n)
			}
			_ = d.Close()
			<-done
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Many goroutines dial while networks come and go.
func TestLeaseConcurrently(t *testing.T) {
	l := startLessor(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				nc, err := l.dialer.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.%d:%s", 10+(i+j)%3, l.port))
				if err != nil {
					t.Error(err)
					return
				}
				if info, _ := InfoOf(nc); !info.Decided {
					t.Errorf("not decided: %v", info.Err)
				}
				_ = nc.Close()
				if j%10 == 9 {
					l.Page.Raise(generation.View)
				}
			}
		})
	}
	wg.Wait()
	uses, connected := l.uses(t)
	if n := l.asked(); int(uses)+n != 200 || connected != uses {
		t.Errorf("%d decisions and %d uses, %d connected, of 200 connections", n, uses, connected)
	}
}

func TestDialsGoOnWithoutTheExtension(t *testing.T) {
	dm := startFake(t, "", true, func(m *wire.Message) bool {
		m.Action = wire.ActionSocketConnectResponse
		m.Context.BindSuggested = rawmanager.Addr("127.0.0.2")
		m.Lease = &wire.Lease{Milliseconds: 1 << 30}
		return true
	})
	d := &Dialer{Daemon: &Daemon{Path: dm.path, DecisionTimeout: 10 * time.Second}}
	defer func() { _ = d.Daemon.Close() }()
	for range 2 {
		dec, err := d.Decide(t.Context(), "tcp", "127.0.0.1:80")
		if err != nil || dec.Err() != nil || dec.plan.lease != nil {
			t.Fatal(err, errors.Unwrap(err), dec)
		}
	}
	if n := len(dm.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// A report names the candidate that was used, also of a decision by a lease. If it is not
// the first choice, the manager is asked about the next connection.
func TestLeaseReportsOfAnAlternate(t *testing.T) {
	l := startLessor(t, nil)
	for range 3 { // asked, by the lease, asked
		dec, err := l.dialer.Decide(t.Context(), "tcp", l.address())
		if err != nil || dec.Err() != nil {
			t.Fatal(err, dec.Err())
		}
		dec.Report(Outcome{Candidate: 1, Duration: 30 * time.Millisecond})
	}
	if err := l.dialer.Daemon.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	decisions, reports := 0, 0
	for _, m := range l.All() {
		switch {
		case m.Action == wire.ActionSocketConnectRequest:
			decisions++
		case m.Outcome != nil && *m.Outcome == wire.Outcome{Candidate: 1, Milliseconds: 30}:
			reports++
		}
	}
	if decisions != 2 || reports != 3 {
		t.Errorf("asked %d times, and %d reports of the alternate; want 2 and 3", decisions, reports)
	}
}
