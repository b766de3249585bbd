package socks

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// looksFor tells whether the kernel sends keep-alive probes on a connection.
func looksFor(t *testing.T, nc net.Conn) bool {
	t.Helper()
	rc, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	on := 0
	if cerr := rc.Control(func(fd uintptr) { on, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return on != 0
}

// Keep-alive costs system calls. So the proxy turns it on for a server of plain HTTP
// only when an exchange takes long.
func TestKeepAliveOfServers(t *testing.T) {
	answer := make(chan string)
	dest := serveTCP(t, func(c *net.TCPConn) {
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err != nil {
			return
		}
		for text := range answer {
			if _, err := io.WriteString(c, text); err != nil || strings.HasSuffix(text, "end") {
				return
			}
		}
	})
	for _, tt := range []struct {
		name   string
		watch  time.Duration // after this time an exchange counts as slow
		pieces []string      // of the answer
		want   bool          // whether keep-alive is on while the last piece is missing
	}{
		{"an answer in one piece", -1, []string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend"}, false},
		{"a slow answer", 1, []string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend"}, true},
		{"an answer in pieces", -1, []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na", "end"}, true},
		{"another protocol", -1, []string{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\na", "end"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dialled := make(chan net.Conn, 1)
			p := newProxy(t, Config{watchAfter: tt.watch, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				d := net.Dialer{KeepAlive: -1}
				nc, err := d.DialContext(ctx, network, address)
				if err == nil {
					dialled <- nc
				}
				return nc, err
			}})
			c := p.dial(t)
			if _, err := io.WriteString(c, "GET http://"+dest.String()+"/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			nc := <-dialled
			last := len(tt.pieces) - 1
			for _, piece := range tt.pieces[:last] {
				answer <- piece
			}
			if tt.want {
				until(t, "the kernel looks whether the server is there", func() bool { return looksFor(t, nc) })
			}
			answer <- tt.pieces[last]
			if !tt.want && looksFor(t, nc) {
				t.Error("the kernel looks whether the server is there")
			}
			if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 "))); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A client closes its direction after its last request, with more bytes after that
// request. It gets the whole answer, and no reset that might overtake the answer.
func TestLastRequestWithMoreBehindIt(t *testing.T) {
	const size = 300_000
	for _, tt := range []struct {
		name, behind string
		later        bool // the bytes arrive when the server already has the request
	}{
		{"nothing", "", false}, {"an empty line", "\r\n", false}, {"an empty line later", "\r\n", true}, {"another request later", "GET / HTTP/1.0\r\n\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, let := make(chan struct{}), make(chan struct{})
			dest := serveTCP(t, func(c *net.TCPConn) {
				if _, err := c.Read(make([]byte, 4096)); err != nil {
					return
				}
				close(asked)
				<-let
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"+strings.Repeat("x", size))
			})
			p := newProxy(t, Config{})
			c := p.dial(t)
			request := "GET http://" + dest.String() + "/ HTTP/1.0\r\n\r\n"
			if !tt.later {
				request += tt.behind
			}
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			<-asked
			if tt.later {
				if _, err := io.WriteString(c, tt.behind); err != nil {
					t.Fatal(err)
				}
			}
			close(let)
			b, err := io.ReadAll(c)
			if _, body, _ := strings.Cut(string(b), "\r\n\r\n"); err != nil || len(body) != size {
				t.Errorf("%d bytes, %v", len(body), err)
			}
		})
	}
}

// A server that takes too long gives another answer than a server that fails. That
// holds for connecting, for the beginning of the answer, and for its rest.
func TestHTTPTimeouts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		answer string // what the server sends before it falls silent
		want   string
	}{
		{"to be connected to", Config{Connect: 20 * time.Millisecond, Dial: newHangingDial().dial}, "", "504 Gateway Timeout"},
		{"to answer", Config{Idle: 20 * time.Millisecond}, "", "504 Gateway Timeout"},
		{"to answer, once it is watched", Config{Idle: 500 * time.Millisecond, watchAfter: 1}, "", "504 Gateway Timeout"},
		{"to answer on", Config{Idle: 2000 * time.Millisecond}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na", "200 OK"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dest := serveTCP(t, func(c *net.TCPConn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, tt.answer)
				_, _ = io.Copy(io.Discard, c)
			})
			p := newProxy(t, tt.config)
			c := p.dial(t)
			if _, err := io.WriteString(c, "GET http://"+dest.String()+"/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 "+tt.want+"\r\n") {
				t.Errorf("answer %q, %v", got, err)
			}
			if e := p.wait(t); ReplyOf(e.err) != TTLExpired {
				t.Errorf("ended with %v", e.err)
			}
		})
	}
}

// Each watch begins when it is due, and never if it has ended before.
func TestPatrol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{}
		var mu sync.Mutex
		begun := map[string]time.Duration{}
		at := time.Now()
		add := func(name string, after time.Duration) *departure {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
			w := &departure{conn: &conn{Conn: ours, s: s, cfg: &Config{watchAfter: after}}}
			w.slow = func() {
				mu.Lock()
				defer mu.Unlock()
				begun[name] = time.Since(at)
			}
			s.patrol.add(w)
			return w
		}
		first := add("first", 2*time.Second)
		earlier := add("earlier", time.Second)
		ended := add("ended", time.Second)
		never := add("never", forever)
		time.Sleep(500 * time.Millisecond)
		if ended.stop() || ended.begun() {
			t.Error("a watch that has not begun tells of a client that went")
		}
		later := add("later", 4*time.Second)
		time.Sleep(time.Minute)
		again := add("again", time.Second) // the list of watches was empty for a while
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, w := range []*departure{first, earlier, never, later, again} {
			if w.stop() {
				t.Error("a client that is there has gone")
			}
		}
		want := map[string]time.Duration{"first": 2 * time.Second, "earlier": time.Second, "later": 4500 * time.Millisecond, "again": 61500 * time.Millisecond}
		for name := range want {
			if begun[name] != want[name] {
				t.Errorf("%s began after %v, want %v", name, begun[name], want[name])
			}
		}
		if len(begun) != len(want) || len(s.patrol.waiting) > 0 {
			t.Errorf("begun: %v, waiting: %d", begun, len(s.patrol.waiting))
		}
	})
}
