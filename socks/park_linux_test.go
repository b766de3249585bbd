package socks

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Idle connections hold no goroutine. They go on when either end sends data, when one
// direction ends, and when a reset comes.
func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	const n = 60
	ends := make(chan *net.TCPConn, n)
	release := make(chan struct{})
	dest := serveTCP(t, func(c *net.TCPConn) {
		ends <- c
		<-release
	})
	t.Cleanup(func() { close(release) }) // runs before serveTCP's own clean-up
	p := newProxy(t, Config{})
	idle := func() bool {
		p.lot.mu.Lock()
		defer p.lot.mu.Unlock()
		return len(p.lot.parked) == 2*p.Conns()
	}
	var clients, servers []*net.TCPConn
	for range n {
		clients = append(clients, p.through(t, dest.String()))
		servers = append(servers, <-ends)
	}
	until(t, "all are idle", idle)
	goroutinesEnd(t)
	pass := func(from, to *net.TCPConn) {
		t.Helper()
		got := make([]byte, 1)
		_ = to.SetDeadline(time.Now().Add(testTimeout))
		if _, err := from.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, got); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for i := range clients {
			pass(clients[i], servers[i])
			pass(servers[i], clients[i])
		}
		until(t, "all are idle again", idle)
	}
	goroutinesEnd(t)
	_ = clients[0].CloseWrite()
	if _, err := servers[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the server sees %v after the end", err)
	}
	pass(servers[0], clients[0])
	_ = servers[1].SetLinger(0)
	_ = servers[1].Close()
	if _, err := clients[1].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v after a reset", err)
	}
	if e := p.wait(t); !errors.Is(e.err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", e.err)
	}
	until(t, "the others are idle", func() bool {
		p.lot.mu.Lock()
		defer p.lot.mu.Unlock()
		return len(p.lot.parked) == 2*n-3
	})
	_ = p.Close()
	for range n - 1 {
		p.wait(t)
	}
}

// goroutinesEnd waits until no goroutine serves or relays a connection. Other
// goroutines do not count; earlier tests may have left some.
func goroutinesEnd(t *testing.T) {
	t.Helper()
	buf := make([]byte, 4<<20)
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) { // not more often, because each look stops the world
		var left []string
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "socks.(*flow).") || strings.Contains(g, "socks.(*Server).serve(") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not in time: the end of %d goroutines:\n%s", len(left), strings.Join(left[:min(len(left), 5)], "\n\n"))
		}
	}
}

// A connection that is idle for too long ends, whether it holds goroutines or not.
func TestIdleConnectionsEnd(t *testing.T) {
	p := newProxy(t, Config{Idle: 50 * time.Millisecond})
	c := p.through(t, serveEcho(t).String())
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
	if e := p.wait(t); !errors.Is(e.err, errIdle) {
		t.Errorf("ended with %v", e.err)
	}
}

// until waits until so returns true.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(testTimeout); !so(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// Close does not wait for clients that have closed their direction.
func TestCloseEndsHalfClosedConnections(t *testing.T) {
	release := make(chan struct{})
	dest := serveTCP(t, func(*net.TCPConn) { <-release })
	t.Cleanup(func() { close(release) }) // runs before serveTCP's own clean-up
	for _, park := range []time.Duration{-1, time.Millisecond} {
		p := newProxy(t, Config{parkAfter: park})
		c := p.through(t, dest.String())
		_ = c.CloseWrite()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = p.Close()
		}()
		select {
		case <-closed:
		case <-time.After(testTimeout):
			t.Fatal("Close still waits")
		}
		if e := p.wait(t); !errors.Is(e.err, ErrServerClosed) {
			t.Errorf("ended with %v", e.err)
		}
	}
}
