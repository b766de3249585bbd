package client

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// reuseFirst is a daemon whose policy uses the first idle socket again.
func reuseFirst(m *wire.Message) bool {
	if m.Action == wire.ActionSocketChooseRequest && len(m.Sockets) > 0 {
		m.Action = wire.ActionSocketChooseExisting
		m.Context, m.Sockets = m.Sockets[0].Context, m.Sockets[:1]
		m.Reason = "idle"
		return true
	}
	return suggest("127.0.0.2")(m)
}

func startPool(t testing.TB, answer func(*wire.Message) bool) (*Pool, *fakeDaemon) {
	t.Helper()
	f := startFake(t, "", false, answer)
	p := &Pool{Dialer: dialer(t, f.path)}
	t.Cleanup(func() { _ = p.Close() })
	return p, f
}

// must connects or ends the test.
func must(t *testing.T, p *Pool, address string, wantExisting bool) *Conn {
	t.Helper()
	s, err := p.Get(t.Context(), "tcp", address)
	existing := err == nil && s.Reused()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if existing != wantExisting {
		t.Errorf("existing %v, want %v", existing, wantExisting)
	}
	if info, ok := InfoOf(s); !ok || info.Reused != wantExisting || !info.Decided {
		t.Errorf("info %+v", info)
	}
	return s
}

func TestPoolReuses(t *testing.T) {
	srv := startServer(t)
	p, f := startPool(t, reuseFirst)
	address := "127.0.0.1:" + srv.port
	a := must(t, p, address, false)
	b := must(t, p, address, false) // a is in use
	if err := a.Release(); err != nil {
		t.Fatal(err)
	}
	if err := a.Release(); err != nil { // once is as good as twice
		t.Errorf("second release: %v", err)
	}
	if c := must(t, p, address, true); c != a {
		t.Error("another socket than the one that the daemon named")
	}
	if c, err := p.GetLike(t.Context(), b); err != nil || c.Reused() {
		t.Errorf("not a new one while all are in use (%v)", err)
	} else {
		_ = c.Close()
	}
	_ = a.Release()
	if c, err := p.GetNew(t.Context(), "tcp", address); err != nil || c == a {
		t.Errorf("not a new one (%v)", err)
	} else {
		_ = c.Close()
	}
	_ = p.Dialer.Daemon.Close()

	var choose []wire.Message
	for _, m := range f.requests() {
		if m.Action == wire.ActionSocketChooseRequest {
			choose = append(choose, m)
		}
	}
	if len(choose) != 3 || len(choose[0].Sockets) != 0 || len(choose[1].Sockets) != 1 || len(choose[2].Sockets) != 0 {
		t.Fatalf("offered %+v", choose)
	}
	c := choose[1].Sockets[0].Context
	if c.BindSuggested != local("127.0.0.2") || c.Remote.AddrPort.String() != address || c.Hostname != "127.0.0.1" || c.Protocol != wire.ProtoTCP {
		t.Errorf("offered with context %+v", c)
	}
}

func TestPoolSets(t *testing.T) {
	p, _ := startPool(t, reuseFirst)
	a, b := startServer(t), startServer(t)
	_ = must(t, p, "127.0.0.1:"+a.port, false).Release()
	must(t, p, "127.0.0.1:"+b.port, false)
	must(t, p, "localhost:"+a.port, false) // the name makes the set, not the address
	must(t, p, "127.0.0.1:0"+a.port, true) // the port as a number
}

func TestPoolNoticesClosedPeer(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	p, _ := startPool(t, reuseFirst)
	a := must(t, p, ln.Addr().String(), false)
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = a.Release()
	must(t, p, ln.Addr().String(), true)
	if _, err := io.ReadFull(a, make([]byte, 1)); err != nil { // data stays in it
		t.Fatal(err)
	}
	_ = a.Release()
	_ = peer.Close()
	if _, err := a.Read(make([]byte, 1)); err != io.EOF { // the close has arrived
		t.Fatal(err)
	}
	must(t, p, ln.Addr().String(), false)
	if err := a.Release(); err != net.ErrClosed {
		t.Errorf("released a closed socket: %v", err)
	}
}

// A socket that is taken between the offer and the answer is not used twice.
func TestPoolSocketTakenMeanwhile(t *testing.T) {
	srv := startServer(t)
	var p *Pool
	var once sync.Once
	p, _ = startPool(t, func(m *wire.Message) bool {
		if m.Action == wire.ActionSocketChooseRequest {
			once.Do(func() {
				w, err := p.enter(t.Context(), "tcp", "127.0.0.1:"+srv.port, true)
				if err != nil || p.take(w, m.Sockets[0].FD) == nil {
					t.Errorf("not taken: %v", err)
				}
			})
		}
		return reuseFirst(m)
	})
	a := must(t, p, "127.0.0.1:"+srv.port, false)
	_ = a.Release()
	if b := must(t, p, "127.0.0.1:"+srv.port, false); a == b {
		t.Error("used twice")
	}
}

func TestPoolWithoutDaemon(t *testing.T) {
	srv := startServer(t)
	p := &Pool{Dialer: &Dialer{Daemon: &Daemon{connect: noDaemon}}}
	defer func() { _ = p.Close() }()
	address := "127.0.0.1:" + srv.port
	a, err := p.Get(t.Context(), "tcp", address)
	existing := err == nil && a.Reused()
	if err != nil || existing {
		t.Fatal(existing, err)
	}
	_ = a.Release()
	b, err := p.Get(t.Context(), "tcp", address)
	existing = err == nil && b.Reused()
	if err != nil || !existing || a != b {
		t.Errorf("not used again: %v, %v", existing, err)
	}
	if _, err := p.Get(t.Context(), "unix", "/x"); err == nil {
		t.Error("a Unix socket in a socket set")
	}
	_ = b.Close()
	if err := b.Close(); err != net.ErrClosed {
		t.Errorf("closed twice: %v", err)
	}
}

func TestPoolLimits(t *testing.T) {
	srv := startServer(t)
	count := func(p *Pool) (n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, set := range p.sets {
			n += len(set.sockets)
		}
		return n
	}
	for _, test := range []struct {
		name    string
		maxIdle int
		want    int
	}{{"none", -1, 0}, {"two", 2, 2}, {"standard", 0, 4}} {
		t.Run(test.name, func(t *testing.T) {
			p, _ := startPool(t, suggest("127.0.0.2"))
			p.MaxIdle = test.maxIdle
			var list []*Conn
			for range 4 {
				list = append(list, must(t, p, "127.0.0.1:"+srv.port, false))
			}
			for _, s := range list {
				_ = s.Release()
			}
			if n := count(p); n != test.want {
				t.Errorf("%d sockets kept, want %d", n, test.want)
			}
			if test.want > 0 {
				used := must(t, p, "127.0.0.1:"+srv.port, false)
				if err := list[3].CloseIdle(); err != nil || count(p) != 1 {
					t.Errorf("%d sockets after Cleanup (%v), want the one in use", count(p), err)
				}
				_ = used.Release()
			}
			p.CloseIdle()
			if n := count(p); n != 0 || len(p.sets) != 0 {
				t.Errorf("%d sockets in %d sets left", n, len(p.sets))
			}
		})
	}
	t.Run("idle time-out", func(t *testing.T) {
		p, _ := startPool(t, reuseFirst)
		p.IdleTimeout = time.Nanosecond
		s := must(t, p, "127.0.0.1:"+srv.port, false)
		_ = s.Release()
		if _, err := s.Read(make([]byte, 1)); err == nil { // blocks until it is closed
			t.Error("still open")
		}
	})
}

func TestPending(t *testing.T) {
	srv := startServer(t)
	answer := make(chan struct{})
	asked := make(chan struct{}, 10)
	p, _ := startPool(t, func(m *wire.Message) bool {
		if m.Context.Hostname == "slow.test" {
			asked <- struct{}{}
			<-answer
		}
		return reuseFirst(m)
	})
	ctx := intent.NewContext(t.Context(), intent.Set{}.WithCategory(intent.CategoryQuery))
	quick := p.Start(ctx, "tcp", "127.0.0.1:"+srv.port)
	<-quick.Done()
	s, err := quick.Result()
	existing := err == nil && s.Reused()
	if err != nil || existing {
		t.Fatal(existing, err)
	}
	quick.Cancel() // too late
	if s.state != inUse {
		t.Error("a socket that was handed out is not Cancel's")
	}
	_ = s.Close()

	slow := p.Start(ctx, "tcp", "slow.test:"+srv.port)
	<-asked
	slow.Cancel()
	if s, err := slow.Result(); s != nil || err == nil {
		t.Errorf("connected although cancelled (%v)", err)
	}
	close(answer)

	unclaimed := p.Start(ctx, "tcp", "127.0.0.1:"+srv.port)
	<-unclaimed.Done()
	unclaimed.Cancel()
	if _, err := unclaimed.Result(); err != context.Canceled {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	must(t, p, "127.0.0.1:"+srv.port, true)
}

func TestPoolConcurrent(t *testing.T) {
	srv := startServer(t)
	p, _ := startPool(t, reuseFirst)
	users := sync.Map{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				s, err := p.Get(t.Context(), "tcp", "127.0.0.1:"+srv.port)
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := users.LoadOrStore(s, true); twice {
					t.Error("a socket has two users")
				}
				users.Delete(s)
				_ = s.Release()
			}
		})
	}
	wg.Wait()
}

func BenchmarkPoolReuse(b *testing.B) {
	srv := startServer(b)
	p, _ := startPool(b, reuseFirst)
	b.ReportAllocs()
	for b.Loop() {
		s, err := p.Get(b.Context(), "tcp", "127.0.0.1:"+srv.port)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Release()
	}
}
