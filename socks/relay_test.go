package socks

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"
)

// through connects to dest through the proxy, with the client of golang.org/x/net.
func (p *testProxy) through(t testing.TB, dest string) *net.TCPConn {
	t.Helper()
	own := p.dial(t)
	p.throughConn(t, own, dest)
	return own
}

// throughConn does the same over a connection to the proxy that exists.
func (p *testProxy) throughConn(t testing.TB, own net.Conn, dest string) {
	t.Helper()
	d, err := proxy.SOCKS5("tcp", p.addr.String(), nil, already{own})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dial("tcp", dest); err != nil {
		t.Fatal(err)
	}
}

// already is a dialer that returns a connection that exists.
type already struct{ net.Conn }

func (a already) Dial(string, string) (net.Conn, error) { return a.Conn, nil }

// stream writes n bytes that depend on seed, in pieces of random size, and
// returns their hash.
func stream(w io.Writer, seed uint64, n int) ([]byte, error) {
	h := sha256.New()
	err := pieces(io.MultiWriter(h, w), seed, n)
	return h.Sum(nil), err
}

func pieces(w io.Writer, seed uint64, n int) error {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 1<<20)
	for i := 0; i+8 <= len(b); i += 8 {
		x := r.Uint64()
		for j := range 8 {
			b[i+j] = byte(x >> (8 * j))
		}
	}
	for n > 0 {
		k := min(n, 1+r.IntN(1<<uint(r.IntN(21))))
		at := r.IntN(len(b) - k + 1)
		if _, err := w.Write(b[at : at+k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// Both directions carry data at the same time and end at random times, each on its own.
// Every byte arrives.
func TestTransfersWithHalfCloses(t *testing.T) {
	type result struct {
		name string
		err  error
	}
	const conns = 12
	fromServer := make(chan result, 2*conns)
	p := newProxy(t, Config{})
	sizes := func(i uint64) (up, down int) {
		r := rand.New(rand.NewPCG(i, 2))
		return r.IntN(1 << uint(1+r.IntN(24))), r.IntN(1 << uint(1+r.IntN(24)))
	}
	sums := make([]chan []byte, 2*conns) // what each sender sent
	for i := range sums {
		sums[i] = make(chan []byte, 1)
	}
	dest := serveTCP(t, func(c *net.TCPConn) {
		// The first byte is the number of the connection.
		var id [1]byte
		if _, err := io.ReadFull(c, id[:]); err != nil {
			fromServer <- result{"read the number", err}
			return
		}
		i := int(id[0])
		_, down := sizes(uint64(i))
		var g sync.WaitGroup
		g.Go(func() {
			sum, err := stream(c, uint64(1000+i), down)
			if err == nil {
				err = c.CloseWrite()
			}
			sums[conns+i] <- sum
			if err != nil {
				fromServer <- result{"send down", err}
			}
		})
		fromServer <- result{fmt.Sprintf("receive up %d", i), compare(c, sums[i])}
		g.Wait()
	})
	var g sync.WaitGroup
	for i := range conns {
		c := p.through(t, dest.String())
		up, _ := sizes(uint64(i))
		g.Go(func() {
			_, err := c.Write([]byte{byte(i)})
			var sum []byte
			if err == nil {
				sum, err = stream(c, uint64(i), up)
			}
			if err == nil {
				err = c.CloseWrite()
			}
			sums[i] <- sum
			if err != nil {
				t.Errorf("send up %d: %v", i, err)
			}
		})
		g.Go(func() {
			if err := compare(c, sums[conns+i]); err != nil {
				t.Errorf("receive down %d: %v", i, err)
			}
		})
	}
	g.Wait()
	for range conns {
		if r := <-fromServer; r.err != nil {
			t.Errorf("%s: %v", r.name, r.err)
		}
	}
	for range conns {
		e := p.wait(t)
		if e.err != nil {
			t.Errorf("a session ended with %v", e.err)
		}
	}
}

// compare reads to the end and compares the hash with that of what was sent.
func compare(r io.Reader, sent <-chan []byte) error {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return err
	}
	if got, want := h.Sum(nil), <-sent; string(got) != string(want) {
		return fmt.Errorf("%d bytes with the wrong hash", n)
	}
	return nil
}

func TestLargeTransferIsCountedAndSpliced(t *testing.T) {
	const size = 64 << 20
	sum := make(chan []byte, 1)
	dest := serveTCP(t, func(c *net.TCPConn) {
		s, _ := stream(c, 7, size)
		sum <- s
	})
	p := newProxy(t, Config{})
	c := p.through(t, dest.String())
	if err := compare(c, sum); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	e := p.wait(t)
	if e.err != nil || e.session.Received() != size || e.session.Sent() != 0 {
		t.Errorf("sent %d, received %d, %v; want 0, %d", e.session.Sent(), e.session.Received(), e.err, size)
	}
}

func TestReset(t *testing.T) {
	t.Run("by the destination", func(t *testing.T) {
		dest := serveTCP(t, func(c *net.TCPConn) {
			_, _ = io.ReadFull(c, make([]byte, 1))
			_ = c.SetLinger(0)
		})
		p := newProxy(t, Config{})
		c := p.through(t, dest.String())
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client sees %v, not a reset", err)
		}
		if e := p.wait(t); !errors.Is(e.err, syscall.ECONNRESET) {
			t.Errorf("the session ended with %v", e.err)
		}
	})
	t.Run("by the client", func(t *testing.T) {
		seen := make(chan error, 1)
		dest := serveTCP(t, func(c *net.TCPConn) {
			_, err := io.ReadAll(c)
			seen <- err
		})
		p := newProxy(t, Config{})
		c := p.through(t, dest.String())
		_ = c.SetLinger(0)
		_ = c.Close()
		if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the destination sees %v, not a reset", err)
		}
	})
}

// After a connection breaks, everything received before that still arrives, however
// slowly the other end reads. The reset comes after that.
func TestResetFollowsData(t *testing.T) {
	const size = 1_000_063
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	sendAndReset := func(t *testing.T, c *net.TCPConn) {
		if _, err := c.Write(payload); err != nil {
			t.Errorf("send: %v", err)
		}
		awaitAcknowledged(c)
		reset(c)
	}
	// The kernel reports a reset once: to the writer if somebody writes, else to the
	// reader.
	receive := func(t *testing.T, c *net.TCPConn, gone <-chan struct{}, wrote <-chan error) {
		t.Helper()
		<-gone // reads only after the other end was reset
		got, err := io.ReadAll(c)
		if wrote != nil {
			err = errors.Join(err, <-wrote)
		}
		if string(got) != string(payload) || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %d bytes of %d, then %v; want all, then a reset", len(got), size, err)
		}
	}
	ways := map[string]func(*testProxy, testing.TB, string) *net.TCPConn{"socks": (*testProxy).through, "connect": (*testProxy).tunnel}
	for way, open := range ways {
		for _, writes := range []bool{false, true} { // the other end goes on writing after the reset
			t.Run(fmt.Sprintf("by the destination, %s, writes %v", way, writes), func(t *testing.T) {
				gone := make(chan struct{})
				dest := serveTCP(t, func(c *net.TCPConn) {
					sendAndReset(t, c)
					close(gone)
				})
				p := newProxy(t, Config{})
				c := open(p, t, dest.String())
				var wrote chan error
				if writes {
					wrote = make(chan error, 1)
					go func() {
						<-gone
						for { // until the proxy notices the reset
							if _, err := c.Write([]byte("more")); err != nil {
								wrote <- err
								return
							}
							runtime.Gosched()
						}
					}()
				}
				receive(t, c, gone, wrote)
				if e := p.wait(t); e.err == nil || e.session.Received() != size {
					t.Errorf("the session ended with %v, received %d", e.err, e.session.Received())
				}
			})
		}
		t.Run("by the client, "+way, func(t *testing.T) {
			gone, done := make(chan struct{}), make(chan struct{})
			dest := serveTCP(t, func(c *net.TCPConn) {
				defer close(done)
				_ = c.SetDeadline(time.Now().Add(testTimeout))
				receive(t, c, gone, nil)
			})
			p := newProxy(t, Config{})
			sendAndReset(t, open(p, t, dest.String()))
			close(gone)
			<-done
		})
	}
}

// A server answers and closes while its client still sends. The client reads an orderly
// end, as without a proxy.
func TestEndBeforeReset(t *testing.T) {
	answered := make(chan struct{})
	dest := serveTCP(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_, _ = io.WriteString(c, strings.Repeat("too much ", 50_000))
		_ = c.CloseWrite()
		awaitAcknowledged(c)
		_ = c.Close() // what the client sent is unread, so this is a reset
		close(answered)
	})
	p := newProxy(t, Config{})
	c := p.through(t, dest.String())
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	<-answered
	if got, err := io.ReadAll(c); len(got) != 9*50_000 || err != nil {
		t.Errorf("got %d bytes, then %v; want %d and an end", len(got), err, 9*50_000)
	}
}

// awaitAcknowledged waits until the peer's kernel has received everything.
func awaitAcknowledged(c *net.TCPConn) {
	for begun := time.Now(); time.Since(begun) < testTimeout; runtime.Gosched() {
		if n, err := unacknowledged(c); n == 0 || err != nil {
			return
		}
	}
}

// tunnel opens a tunnel with the method CONNECT.
func (p *testProxy) tunnel(t testing.TB, dest string) *net.TCPConn {
	t.Helper()
	c := p.dial(t)
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	got := make([]byte, len(established))
	_, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", dest)
	if err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || string(got) != established {
		t.Fatalf("CONNECT: %q, %v", got, err)
	}
	return c
}

func TestIdleTimeouts(t *testing.T) {
	echo := serveEcho(t)
	t.Run("idle", func(t *testing.T) {
		p := newProxy(t, Config{Idle: 20 * time.Millisecond})
		c := p.through(t, echo.String())
		if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client sees %v", err)
		}
		if e := p.wait(t); !errors.Is(e.err, errIdle) {
			t.Errorf("the session ended with %v", e.err)
		}
	})
	t.Run("half closed", func(t *testing.T) {
		hang := make(chan struct{})
		dest := serveTCP(t, func(*net.TCPConn) { <-hang })
		t.Cleanup(func() { close(hang) }) // runs before serveTCP's own clean-up
		p := newProxy(t, Config{HalfClosed: 20 * time.Millisecond})
		c := p.through(t, dest.String())
		_ = c.CloseWrite()
		if e := p.wait(t); !errors.Is(e.err, errIdle) {
			t.Errorf("the session ended with %v", e.err)
		}
	})
	t.Run("no request", func(t *testing.T) {
		p := newProxy(t, Config{Handshake: 20 * time.Millisecond})
		p.dial(t)
		var ne net.Error
		if err := p.waitRejected(t); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("rejected with %v", err)
		}
	})
	t.Run("byte by byte", func(t *testing.T) {
		p := newProxy(t, Config{Handshake: 50 * time.Millisecond})
		c := p.dial(t)
		go func() {
			for {
				if _, err := c.Write([]byte("A")); err != nil { // an HTTP method that never ends
					return
				}
				runtime.Gosched()
			}
		}()
		_ = p.waitRejected(t)
	})
}

// An idle connection holds no buffer, only stacks and small objects.
func TestIdleConnectionsAreCheap(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Each takes four descriptors: the client's, two of the proxy, the destination's.
	n := min(4500, int(limit.Cur-200)/4)
	if testing.Short() || raceDetector {
		n = min(n, 200)
	}
	if n < 50 {
		t.Skipf("needs a higher descriptor limit than %d", limit.Cur)
	}
	release := make(chan struct{})
	dest := serveTCP(t, func(c *net.TCPConn) {
		_, _ = io.CopyN(c, c, 1)
		<-release
	})
	defer close(release)
	p := newProxy(t, Config{})
	open := func(n int) []*net.TCPConn {
		list := make([]*net.TCPConn, n)
		for i := range list {
			c := p.dial(t)
			if _, err := io.WriteString(c, "\x05\x01\x00\x05\x01\x00"+socks5Addr(dest)+"x"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 2+10+1)); err != nil {
				t.Fatal(err)
			}
			list[i] = c
		}
		return list
	}
	memory := func() float64 {
		runtime.GC()
		runtime.GC() // the pools are empty after two collections
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	open(20)
	before := memory()
	open(n)
	per := (memory() - before) / float64(n)
	t.Logf("%d connections, %.1f KiB each", n, per/1024)
	// This includes the client and the destination: their sockets and two goroutines.
	if limit := 64.0; per/1024 > limit && !raceDetector {
		t.Errorf("an idle connection takes %.1f KiB, want %.1f KiB at most", per/1024, limit)
	}
	if got := p.Conns(); got != n+20 {
		t.Errorf("%d connections are open, want %d", got, n+20)
	}
}

// BenchmarkRelay measures the throughput of one direction.
func BenchmarkRelay(b *testing.B) {
	dest := serveTCP(b, func(c *net.TCPConn) { _, _ = io.Copy(struct{ io.Writer }{io.Discard}, c) })
	p := newProxy(b, Config{})
	c := p.through(b, dest.String())
	_ = c.SetDeadline(time.Time{})
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSetUp measures how fast connections are set up that carry one byte and its
// echo.
func BenchmarkSetUp(b *testing.B) {
	dest := serveTCP(b, func(c *net.TCPConn) { _, _ = io.CopyN(c, c, 1) })
	p := newProxy(b, Config{})
	hello := "\x05\x01\x00\x05\x01\x00" + socks5Addr(dest) + "x"
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c, err := net.Dial("tcp", p.addr.String())
			if err != nil {
				b.Error(err)
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0) // with a reset, so that ports are free again at once
			_, err = io.WriteString(c, hello)
			if err == nil {
				_, err = io.ReadFull(c, make([]byte, 2+10+1))
			}
			_ = c.Close()
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
