package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

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
