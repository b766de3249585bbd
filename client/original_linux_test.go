package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/client"
	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/testing/rawmanager"
	"github.com/socket-intents/mamma/internal/wire"
)

// The tests in this file check the rows of doc/original/client-and-socks.md 7 to 10 and
// 12 about socketconnect, blocking and not. They check what the original means to do,
// and what section 17 says it should do. The tests of the classic calls and the
// extended getaddrinfo are in package bsd.

// reuse is a manager whose policy uses the first idle socket again.
func reuse(m *wire.Message) bool {
	if m.Action == wire.ActionSocketChooseRequest && len(m.Sockets) > 0 {
		m.Action = wire.ActionSocketChooseExisting
		m.Context, m.Sockets = m.Sockets[0].Context, m.Sockets[:1]
		return true
	}
	return rawmanager.Suggest("127.0.0.2")(m)
}

func newPool(t *testing.T, script func(*wire.Message) bool) (*client.Pool, *rawmanager.Daemon) {
	t.Helper()
	d := rawmanager.Start(t, "", false, script)
	daemon := &client.Daemon{Path: d.Path, DecisionTimeout: 5 * time.Second}
	p := &client.Pool{Dialer: &client.Dialer{Daemon: daemon}}
	t.Cleanup(func() { _ = p.Close(); _ = daemon.Close() })
	return p, d
}

// server accepts connections and hands them over.
func server(t *testing.T) (address string, accepted chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan net.Conn, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			accepted <- nc
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), accepted
}

func mustConnect(t *testing.T, p *client.Pool, ctx context.Context, network, address string, wantExisting bool) *client.Conn { //nolint:revive // t comes first
	t.Helper()
	s, err := p.Get(ctx, network, address)
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

func release(t *testing.T, s *client.Conn) {
	t.Helper()
	if err := s.Release(); err != nil {
		t.Error(err)
	}
}

// Section 7.1: what the descriptor says on entry.
func TestSocketConnectEntry(t *testing.T) {
	p, d := newPool(t, reuse)
	address, _ := server(t)
	a := mustConnect(t, p, t.Context(), "tcp", address, false) // 0, no set
	release(t, a)
	if s := mustConnect(t, p, t.Context(), "tcp", address, true); s != a { // 0, a set
		t.Error("another socket")
	}
	release(t, a)
	s, err := p.GetNew(t.Context(), "tcp", address) // -1
	if err != nil || s == a {
		t.Fatalf("used again, or %v", err)
	}
	_ = s.Close()
	s, err = p.GetLike(t.Context(), a) // another
	existing := err == nil && s.Reused()
	if err != nil || !existing || s != a {
		t.Errorf("like: existing %v (%v)", existing, err)
	}
	_ = a.Close() // and the set with it
	s, err = p.GetLike(t.Context(), a)
	existing = err == nil && s.Reused()
	if err != nil || existing {
		t.Fatalf("like one that is gone: existing %v (%v)", existing, err)
	}
	_ = s.Close()
	var got []wire.Action
	for _, m := range d.Requests() {
		got = append(got, m.Action)
	}
	const connect, choose = wire.ActionSocketConnectRequest, wire.ActionSocketChooseRequest
	if diff := cmp.Diff([]wire.Action{connect, choose, connect, choose, connect}, got); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// Section 7.2: service names, defect 28. Ports are decimal and at most 65535.
// Whether a blank may stand before them is the system's resolver's to say.
func TestServiceNormalisation(t *testing.T) {
	for _, tt := range []struct {
		given, stored string // "": refused
	}{
		{"80", "80"}, {"http", "80"}, {"https", "443"}, {"443", "443"}, {"8080", "8080"}, {"8082", "8082"}, {"ssh", "22"},
		{"80abc", ""}, {"0x50", ""}, {"65616", ""}, {"1e2", ""}, {"foo", ""}, {"-1", ""}, {"4294967376", ""}, {"+4294967376", ""}, {"-4294967296", ""},
	} {
		t.Run(tt.given, func(t *testing.T) {
			asked := make(chan string, 1)
			p, _ := newPool(t, func(m *wire.Message) bool {
				asked <- m.Context.Service
				m.Action = wire.ActionErrorResolve
				return true
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := p.Get(ctx, "tcp", "192.0.2.1:"+tt.given)
				done <- err
			}()
			select {
			case got := <-asked:
				cancel() // nobody shall dial
				if err := <-done; err == nil {
					t.Error("connected to an address for documentation")
				}
				if got != tt.stored {
					t.Errorf("stored as %q, want %q", got, tt.stored)
				}
			case err := <-done:
				if tt.stored != "" || err == nil {
					t.Errorf("error %v", err)
				}
			}
		})
	}
}

// Section 8.1: what makes a set, and what does not.
func TestSetIdentity(t *testing.T) {
	address, _ := server(t)
	_, port, _ := net.SplitHostPort(address)
	for _, tt := range []struct {
		name             string
		network, address string
		intents          intent.Set
		same             bool
	}{
		{"equal", "tcp", address, intent.Set{}, true},
		{"family", "tcp4", address, intent.Set{}, true},
		{"intents", "tcp", address, intent.Set{}.WithCategory(intent.CategoryStream), true},
		{"type", "udp", address, intent.Set{}, false},
		{"host", "tcp", "localhost:" + port, intent.Set{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := newPool(t, reuse)
			release(t, mustConnect(t, p, t.Context(), "tcp", address, false))
			mustConnect(t, p, intent.NewContext(t.Context(), tt.intents), tt.network, tt.address, tt.same)
		})
	}
	t.Run("case of the host", func(t *testing.T) {
		p, _ := newPool(t, reuse)
		release(t, mustConnect(t, p, t.Context(), "tcp", "localhost:"+port, false))
		mustConnect(t, p, t.Context(), "tcp", "LOCALHOST:"+port, false)
	})
}

// Section 8.2: the operations, defects 24 and 25.
func TestSetOperations(t *testing.T) {
	address, accepted := server(t)
	p, _ := newPool(t, reuse)
	a := mustConnect(t, p, t.Context(), "tcp", address, false)
	b := mustConnect(t, p, t.Context(), "tcp", address, false)
	far := <-accepted
	for _, tt := range []struct {
		row       string
		got, want error
	}{
		{"release", a.Release(), nil},
		{"release twice", a.Release(), nil},
		{"clean up: b and all idle ones", b.CloseIdle(), nil},
		{"release what is gone", a.Release(), net.ErrClosed},
		{"close what is gone", a.Close(), net.ErrClosed},
		{"clean up what is gone", b.CloseIdle(), net.ErrClosed},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.row, tt.got, tt.want)
		}
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle socket of the set is open still: %v", err)
	}
	c := mustConnect(t, p, t.Context(), "tcp", address, false)
	if err := c.NetConn().Close(); err != nil { // the application did it itself
		t.Error(err)
	}
	if err := c.Close(); err == nil {
		t.Error("closing again gives no error")
	}
	mustConnect(t, p, t.Context(), "tcp", address, false) // c is in no set any more
}

// Sections 8.3 and 8.4: which sockets are offered, defects 20 to 22.
func TestOffer(t *testing.T) {
	address, accepted := server(t)
	var foreign bool
	p, d := newPool(t, func(m *wire.Message) bool {
		reuse(m)
		if m.Action == wire.ActionSocketChooseExisting && foreign {
			m.Sockets[0].FD += 1000 // is not in the set
		}
		return true
	})
	used := mustConnect(t, p, t.Context(), "tcp", address, false)
	farUsed := <-accepted
	open := mustConnect(t, p, t.Context(), "tcp", address, false)
	farOpen := <-accepted
	gone := mustConnect(t, p, t.Context(), "tcp", address, false)
	farGone := <-accepted
	if _, err := farOpen.Write([]byte("x")); err != nil { // data waits: open
		t.Fatal(err)
	}
	_, _ = farUsed.Write([]byte("y"))
	_ = farUsed.Close()
	_ = farGone.Close()
	if _, err := gone.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	release(t, open)
	release(t, gone)
	if s := mustConnect(t, p, t.Context(), "tcp", address, true); s != open {
		t.Error("not the one that is open")
	}
	all := d.Requests()
	if n := len(all[len(all)-1].Sockets); n != 1 {
		t.Errorf("%d sockets were offered: neither those in use nor those closed by the peer are", n)
	}
	if b, err := io.ReadAll(used); string(b) != "y" || err != nil { // left alone, though its peer closed it
		t.Errorf("the socket in use gives %q (%v)", b, err)
	}
	release(t, open)
	foreign = true
	mustConnect(t, p, t.Context(), "tcp", address, false)
}

// Section 8.4: an error that waits on a datagram socket does not mean that its
// peer closed it.
func TestDatagramsAreNotClosed(t *testing.T) {
	p, _ := newPool(t, reuse)
	s := mustConnect(t, p, t.Context(), "udp", "127.0.0.1:1", false)
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	release(t, s)
	mustConnect(t, p, t.Context(), "udp", "127.0.0.1:1", true)
}

// Sections 9 and 10: without waiting, and waiting for the result, defects 30, 31,
// 34 and 37.
func TestPendingRows(t *testing.T) {
	address, _ := server(t)
	p, _ := newPool(t, reuse)
	start := func(address string) *client.Pending { return p.Start(t.Context(), "tcp", address) }
	fine, refused, cancelled := start(address), start("127.0.0.1:1"), start(address)
	cancelled.Cancel()
	<-refused.Done()
	if s, err := refused.Result(); s != nil || err == nil {
		t.Errorf("refused: %v, %v", s, err)
	}
	s, err := fine.Result() // the failure of another is not its own, nor whether the cancelled one was in time
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil { // it is connected
		t.Error(err)
	}
	release(t, s)
	again, err := start(address).Result()
	existing := err == nil && again.Reused()
	if err != nil || !existing {
		t.Fatalf("not used again: %v", err)
	}
	_ = again.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Start(ctx, "tcp", address).Result(); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// Section 12: every way to connect, in every situation, connects plainly
// (defects 6 to 9 and 19).
func TestWithoutWorkingDaemon(t *testing.T) {
	unchanged := func(m *wire.Message) bool {
		m.Action++
		if m.Action == wire.ActionSocketChooseExisting {
			m.Action = wire.ActionSocketChooseNew
		}
		return true
	}
	apis := map[string]func(context.Context, *client.Daemon, string) (net.Conn, error){
		"Dialer": func(ctx context.Context, d *client.Daemon, address string) (net.Conn, error) {
			return (&client.Dialer{Daemon: d}).DialContext(ctx, "tcp", address)
		},
		"Pool": func(ctx context.Context, d *client.Daemon, address string) (net.Conn, error) {
			s, err := (&client.Pool{Dialer: &client.Dialer{Daemon: d}}).Get(ctx, "tcp", address)
			return s, err
		},
		"Pool.Start": func(ctx context.Context, d *client.Daemon, address string) (net.Conn, error) {
			s, err := (&client.Pool{Dialer: &client.Dialer{Daemon: d}}).Start(ctx, "tcp", address).Result()
			return s, err
		},
	}
	for _, tt := range []struct {
		situation string
		start     func(t *testing.T, path string, original bool)
	}{
		{"socket file missing", func(*testing.T, string, bool) {}},
		{"socket file stale", func(t *testing.T, path string, _ bool) {
			ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			ln.SetUnlinkOnClose(false)
			_ = ln.Close()
		}},
		{"reads and closes without answer", func(t *testing.T, path string, _ bool) { closing(t, path, true) }},
		{"closes before reading", func(t *testing.T, path string, _ bool) { closing(t, path, false) }},
		{"never answers", func(t *testing.T, path string, original bool) {
			rawmanager.Start(t, path, original, func(*wire.Message) bool { return false })
		}},
		{"without policy", func(t *testing.T, path string, original bool) {
			rawmanager.Start(t, path, original, unchanged)
		}},
		{"resolution failed", func(t *testing.T, path string, original bool) {
			rawmanager.Start(t, path, original, func(m *wire.Message) bool {
				m.Action = wire.ActionErrorResolve
				return true
			})
		}},
	} {
		for _, original := range []bool{false, true} {
			for name, connect := range apis {
				t.Run(fmt.Sprintf("%s/original=%v/%s", tt.situation, original, name), func(t *testing.T) {
					address, accepted := server(t)
					_, port, _ := net.SplitHostPort(address)
					path := filepath.Join(t.TempDir(), "mamma.sock")
					tt.start(t, path, original)
					d := &client.Daemon{Path: path, DecisionTimeout: 20 * time.Millisecond, ResolveTimeout: 20 * time.Millisecond}
					defer func() { _ = d.Close() }()
					for range 2 {
						nc, err := connect(t.Context(), d, "localhost:"+port)
						if err != nil {
							t.Fatal(err)
						}
						_ = nc.Close()
						if from := (<-accepted).RemoteAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.1" {
							t.Errorf("came from %s", from)
						}
					}
				})
			}
		}
	}
	for name, connect := range apis {
		t.Run("restarted/"+name, func(t *testing.T) {
			address, accepted := server(t)
			path := filepath.Join(t.TempDir(), "mamma.sock")
			d := &client.Daemon{Path: path, DecisionTimeout: 5 * time.Second}
			defer func() { _ = d.Close() }()
			for _, source := range []string{"127.0.0.2", "127.0.0.3"} {
				daemon := rawmanager.Start(t, path, false, rawmanager.Suggest(source))
				nc, err := connect(t.Context(), d, address)
				if err != nil {
					t.Fatal(err)
				}
				_ = nc.Close()
				if from := (<-accepted).RemoteAddr().(*net.TCPAddr).IP.String(); from != source {
					t.Errorf("came from %s, want %s", from, source)
				}
				daemon.Stop()
				_ = os.Remove(path)
			}
		})
	}
}

// closing is a daemon that closes every connection.
func closing(t *testing.T, path string, read bool) {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			if read {
				_, _ = nc.Read(make([]byte, wire.MaxMessage))
			}
			_ = nc.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
}
