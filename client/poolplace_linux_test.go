package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// waiting returns how many wait for a place.
func waiting(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// state returns the places that are taken and the connections there are.
func state(p *Pool) (busy, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, set := range p.sets {
		open += len(set.sockets) + set.making
	}
	return p.busy, open
}

// wantUnused closes what is idle and complains if anything is left in the pool.
func wantUnused(t *testing.T, p *Pool) {
	t.Helper()
	p.CloseIdle()
	if busy, open := state(p); busy != 0 || open != 0 || waiting(p) != 0 || len(p.sets) != 0 {
		t.Errorf("%d places, %d connections, %d waiting, %d sets left", busy, open, waiting(p), len(p.sets))
	}
}

// asked returns how many decisions the daemon was asked for.
func (f *fakeDaemon) asked() (n int) {
	for _, m := range f.requests() {
		if m.Action == wire.ActionSocketChooseRequest || m.Action == wire.ActionSocketConnectRequest {
			n++
		}
	}
	return n
}

// claim waits for a Pending that is to succeed.
func claim(t *testing.T, q *Pending, wantExisting bool) *Conn {
	t.Helper()
	s, err := q.Result()
	existing := err == nil && s.Reused()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if existing != wantExisting {
		t.Errorf("existing %v, want %v", existing, wantExisting)
	}
	return s
}

// A caller that finds the set full waits for its turn. The daemon is asked after that.
func TestPoolMaxPerSet(t *testing.T) {
	one, other := startServer(t), startServer(t)
	p, f := startPool(t, reuseFirst)
	p.MaxPerSet = 2
	address := "127.0.0.1:" + one.port
	a, b := must(t, p, address, false), must(t, p, address, false)
	c, d, e := p.Start(t.Context(), "tcp", address), p.Start(t.Context(), "tcp", address), p.Start(t.Context(), "tcp", address)
	if n := waiting(p); n != 3 || f.asked() != 2 {
		t.Errorf("%d wait, %d decisions", n, f.asked())
	}
	_ = must(t, p, "127.0.0.1:"+other.port, false).Close() // does not stand behind them
	_ = a.Release()
	if got := claim(t, c, true); got != a {
		t.Error("another socket than the one that became free")
	}
	_ = b.Close()
	s := claim(t, d, false)
	if n := waiting(p); n != 1 {
		t.Errorf("%d wait, want the last one", n)
	}
	_ = s.Release()
	_ = claim(t, e, true).Close()
	_ = a.Close()
	wantUnused(t, p)
}

// Everything that ends a connection, or the hope for one, lets the next one in.
func TestPoolPlaces(t *testing.T) {
	srv := startServer(t)
	address, refused := "127.0.0.1:"+srv.port, closedPort(t)
	connected := func(end func(*Conn)) func(*testing.T, *Pool, func()) func() {
		return func(t *testing.T, p *Pool, _ func()) func() {
			s := must(t, p, address, false)
			return func() { end(s) }
		}
	}
	for _, test := range []struct {
		name string
		// hold takes the only place and returns what gives it back. Decisions
		// about the port that refuses are not answered until the daemon may.
		hold     func(t *testing.T, p *Pool, mayAnswer func()) (giveBack func())
		existing bool // for the next one
	}{
		{"release", connected(func(s *Conn) { _ = s.Release() }), true},
		{"close", connected(func(s *Conn) { _ = s.Close() }), false},
		{"clean-up", connected(func(s *Conn) { _ = s.CloseIdle() }), false},
		{"failed dial", func(t *testing.T, p *Pool, mayAnswer func()) func() {
			q := p.Start(t.Context(), "tcp", "127.0.0.1:"+refused)
			return func() {
				mayAnswer()
				if _, err := q.Result(); err == nil {
					t.Error("connected to a closed port")
				}
			}
		}, false},
		{"cancelled dial", func(t *testing.T, p *Pool, mayAnswer func()) func() {
			q := p.Start(t.Context(), "tcp", "127.0.0.1:"+refused)
			return func() {
				q.Cancel()
				mayAnswer()
			}
		}, false},
		{"unclaimed", func(t *testing.T, p *Pool, _ func()) func() {
			q := p.Start(t.Context(), "tcp", address)
			<-q.Done()
			return q.Cancel
		}, true},
		{"cancelled wait", func(t *testing.T, p *Pool, _ func()) func() {
			s := must(t, p, address, false)
			q := p.Start(t.Context(), "tcp", address)
			return func() {
				q.Cancel()
				if _, err := q.Result(); !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
				_ = s.Release()
			}
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			may := make(chan struct{})
			p, _ := startPool(t, func(m *wire.Message) bool {
				if m.Context.Service == refused {
					<-may
				}
				return reuseFirst(m)
			})
			p.MaxConns = 1
			giveBack := test.hold(t, p, func() { close(may) })
			ahead := waiting(p)
			next := p.Start(t.Context(), "tcp", address)
			if busy, _ := state(p); busy != 1 || waiting(p) != ahead+1 {
				t.Errorf("%d places are taken, %d wait", busy, waiting(p))
			}
			giveBack()
			_ = claim(t, next, test.existing).Close()
			wantUnused(t, p)
		})
	}
}

// Idle sockets make room for new connections, the longest idle first.
func TestPoolMakesRoom(t *testing.T) {
	one, other := startServer(t), startServer(t)
	p, _ := startPool(t, suggest("127.0.0.2")) // new ones only
	p.MaxPerSet, p.MaxConns = 2, 3
	here, there := "127.0.0.1:"+one.port, "127.0.0.1:"+other.port
	closed := func(want ...*Conn) {
		t.Helper()
		for i, s := range want {
			if s.state != isClosed {
				t.Errorf("socket %d is still there", i)
			}
		}
	}
	a, b := must(t, p, here, false), must(t, p, here, false)
	_, _ = b.Release(), a.Release()
	c := must(t, p, here, false) // the set is full
	closed(b)
	x := must(t, p, there, false)
	_ = x.Release()
	_ = c.Release()
	d := must(t, p, there, false) // all are; a is idle for longer than x
	closed(b, a)
	_ = d.Release()
	e := must(t, p, here, false) // there too
	closed(b, a, x)
	f := must(t, p, here, false) // the set is full as well
	closed(b, a, x, c)
	g := must(t, p, there, false) // nobody else's is left
	closed(b, a, x, c, d)
	for _, s := range []*Conn{e, f, g} {
		_ = s.Close()
	}
	wantUnused(t, p)
}

// Idle sockets are on offer to one at a time. If the one that is chosen has gone,
// a new connection takes its place.
func TestPoolOffersOnce(t *testing.T) {
	srv := startServer(t)
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	p, f := startPool(t, func(m *wire.Message) bool {
		if m.Action == wire.ActionSocketChooseRequest && len(m.Sockets) > 0 {
			asked <- struct{}{}
			<-answer
		}
		return reuseFirst(m)
	})
	p.MaxPerSet = 5
	address := "127.0.0.1:" + srv.port
	a, b := must(t, p, address, false), must(t, p, address, false)
	_, _ = a.Release(), b.Release()
	first, second := p.Start(t.Context(), "tcp", address), p.Start(t.Context(), "tcp", address)
	<-asked
	answer <- struct{}{}
	if claim(t, first, true) != a {
		t.Error("not the first one")
	}
	<-asked
	p.CloseIdle() // b
	answer <- struct{}{}
	_ = claim(t, second, false).Close()
	var offered []int
	for _, m := range f.requests() {
		if m.Action != wire.ActionReportRequest {
			offered = append(offered, len(m.Sockets))
		}
	}
	if diff := cmp.Diff([]int{0, 0, 2, 1, 0}, offered); diff != "" {
		t.Errorf("sockets offered (-want +got)\n%s", diff)
	}
	_ = a.Close()
	wantUnused(t, p)
}

// The daemon is asked in order of arrival, also across sets and by those who did
// not have to wait; one that waits for its answer holds up the others for a while
// only.
func TestPoolDecidesInOrder(t *testing.T) {
	srv := startServer(t)
	p, f := startPool(t, suggest("127.0.0.2"))
	p.MaxConns = 4
	var list []*Pending
	var want []string
	for i := range 10 {
		host := fmt.Sprintf("127.0.1.%d", i) // nobody is there
		list, want = append(list, p.Start(t.Context(), "tcp", host+":"+srv.port)), append(want, host)
	}
	for _, q := range list {
		if s, err := q.Result(); err == nil {
			_ = s.Close()
		}
	}
	var got []string
	for _, m := range f.requests() {
		if m.Action == wire.ActionSocketConnectRequest {
			got = append(got, m.Context.Hostname)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got)\n%s", diff)
	}
	wantUnused(t, p)

	synctest.Test(t, func(t *testing.T) {
		p := &Pool{MaxConns: 4}
		enter := func() *place {
			w, err := p.enter(t.Context(), "tcp", "127.0.0.1:80", true)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		stuck, next, last := enter(), enter(), enter()
		begun := time.Now()
		for _, w := range []*place{stuck, next} {
			if err := p.wait(t.Context(), w); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took != allowed(intent.Set{}) {
			t.Errorf("held up for %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.wait(ctx, last); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		p.leave(stuck)
		p.leave(next)
		wantUnused(t, p)
	})
}

// Virtual time: the wait ends with the context or Deadline; Timeout counts from
// its end.
func TestPoolWait(t *testing.T) {
	srv := startServer(t)
	address := "127.0.0.1:" + srv.port
	connect := func(t *testing.T, p *Pool, ctx context.Context) (*Conn, error) {
		s, err := p.GetNew(ctx, "tcp", address)
		if err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		return s, err
	}
	for _, test := range []struct {
		name     string
		set      func(d *net.Dialer)
		context  time.Duration
		after    time.Duration
		timedOut bool
	}{
		{name: "until there is a place", set: func(d *net.Dialer) { d.Timeout = time.Second }, context: 2 * time.Hour, after: time.Hour},
		{name: "context", set: func(*net.Dialer) {}, context: time.Minute, after: time.Minute, timedOut: true},
		{name: "deadline", set: func(d *net.Dialer) { d.Deadline = time.Now().Add(time.Minute) }, context: time.Hour, after: time.Minute, timedOut: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &Pool{MaxPerSet: 1, Dialer: &Dialer{Daemon: &Daemon{DecisionTimeout: -1}}}
				test.set(&p.Dialer.Net)
				ctx, cancel := context.WithTimeout(t.Context(), test.context)
				defer cancel()
				s, err := connect(t, p, ctx)
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				first := s
				defer time.AfterFunc(time.Hour, func() { _ = first.Close() }).Stop()
				s, err = connect(t, p, ctx)
				if took := time.Since(begun); took != test.after {
					t.Errorf("waited %v, want %v", took, test.after)
				}
				if test.timedOut {
					var ne net.Error
					if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
						t.Errorf("error %v", err)
					}
				} else if err != nil {
					t.Error(err)
				} else if info, _ := InfoOf(s); info.Duration > time.Minute {
					t.Errorf("it took %v to connect", info.Duration)
				}
			})
		})
	}
}

// With ReuseFirst the daemon is asked about new connections only.
func TestPoolReuseFirst(t *testing.T) {
	srv := startServer(t)
	p, f := startPool(t, suggest("127.0.0.2")) // never an existing one
	p.ReuseFirst = true
	address := "127.0.0.1:" + srv.port
	a, b := must(t, p, address, false), must(t, p, address, false)
	a.Value = "kept"
	_, _ = a.Release(), b.Release()
	for _, want := range []*Conn{b, a} { // the latest first
		s, err := p.Get(t.Context(), "tcp", address)
		existing := err == nil && s.Reused()
		if err != nil || !existing || s != want {
			t.Errorf("existing %v, %v", existing, err)
		}
		if info, _ := InfoOf(s); info.Decided || info.Err != nil || !info.Reused || info.Reason != "used again without asking the manager" {
			t.Errorf("info %+v", info)
		}
	}
	if a.Value != "kept" {
		t.Error("the user's value is lost")
	}
	must(t, p, address, false)
	if n := f.asked(); n != 3 {
		t.Errorf("%d decisions, want 3", n)
	}
}

// The limits hold at every moment, whatever many users do, and nothing is left
// in the end.
func TestPoolLimitsConcurrent(t *testing.T) {
	p, _ := startPool(t, reuseFirst)
	p.MaxPerSet, p.MaxConns, p.MaxIdle = 3, 5, 2
	var addresses []string
	for range 3 {
		addresses = append(addresses, "127.0.0.1:"+startServer(t).port)
	}
	addresses = append(addresses, "127.0.0.1:"+closedPort(t))
	within := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		open, busy := 0, 0
		for key, set := range p.sets {
			if n := len(set.sockets) + set.making; n > p.MaxPerSet || set.busy > p.MaxPerSet {
				t.Errorf("%d connections, %d places in %v", n, set.busy, key)
			}
			open += len(set.sockets) + set.making
			busy += set.busy
		}
		if open > p.MaxConns || busy > p.MaxConns || busy != p.busy {
			t.Errorf("%d connections, %d places, %d counted", open, busy, p.busy)
		}
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 30 {
				q := p.Start(t.Context(), "tcp", addresses[r.IntN(len(addresses))])
				if r.IntN(5) == 0 {
					q.Cancel()
					continue
				}
				s, err := q.Result()
				within()
				if err != nil {
					continue
				}
				switch r.IntN(6) {
				case 0:
					_ = s.Close()
				case 1:
					_ = s.CloseIdle()
				case 2:
					p.CloseIdle()
					fallthrough
				default:
					_ = s.Release()
				}
				within()
			}
		})
	}
	wg.Wait()
	wantUnused(t, p)
}
