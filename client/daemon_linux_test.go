package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

func TestDaemonRestart(t *testing.T) {
	s := startServer(t)
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path)
	if _, peer := dialServer(t, d, s, "127.0.0.1"); peer != "127.0.0.2" {
		t.Fatalf("from %s", peer)
	}
	_ = d.Daemon.Close() // waits until the report is sent
	if _, peer := dialServer(t, d, s, "127.0.0.1"); peer != "127.0.0.2" {
		t.Fatalf("from %s", peer)
	}
	f.stop()
	startFake(t, f.path, true, suggest("127.0.0.3"))
	if _, peer := dialServer(t, d, s, "127.0.0.1"); peer != "127.0.0.3" {
		t.Errorf("from %s, want what the new daemon says", peer)
	}
}

func TestDaemonKilledInRequest(t *testing.T) {
	s := startServer(t)
	var f *fakeDaemon
	f = startFake(t, "", false, func(*wire.Message) bool {
		f.killLocked()
		return false
	})
	if info, peer := dialServer(t, dialer(t, f.path), s, "127.0.0.1"); peer != "127.0.0.1" || info.Err == nil {
		t.Errorf("from %s, info %+v", peer, info)
	}
}

func TestDaemonPool(t *testing.T) {
	s := startServer(t)
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			nc, err := d.Dial("tcp", "127.0.0.1:"+s.port)
			if err != nil {
				t.Error(err)
				return
			}
			_ = nc.Close()
		})
	}
	wg.Wait()
	d.Daemon.mu.Lock()
	n := len(d.Daemon.idle)
	d.Daemon.mu.Unlock()
	if n == 0 || n > maxIdleLinks {
		t.Errorf("%d idle connections to the daemon", n)
	}
	before := f.greetings()
	dialServer(t, d, s, "127.0.0.1")
	if f.greetings() != before {
		t.Error("an idle connection was not used again")
	}
}

func TestDaemonContextID(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	d := dialer(t, f.path)
	for range 2 {
		if _, err := d.Daemon.decide(t.Context(), target{typ: wire.SockStream, host: "a"}, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	reqs := f.requests()
	if reqs[0].Context.ID == uuid.Nil || reqs[0].Context.ID != reqs[1].Context.ID {
		t.Errorf("context ids %v and %v, want that of the greeting", reqs[0].Context.ID, reqs[1].Context.ID)
	}
	if reqs[0].Features != features {
		t.Errorf("announced %v", reqs[0].Features)
	}
}

// pipeDaemon returns a connect function for a daemon without a kernel, so that time can
// be virtual. Answers take delay. If delay is nil, they never come.
func pipeDaemon(delay func() time.Duration) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			r := wire.NewReader(server)
			for {
				var m wire.Message
				if r.Read(&m) != nil {
					return
				}
				time.Sleep(delay()) // virtual
				m.Features = features
				m.Context.ID = uuid.UUID{1}
				if m.Action == wire.ActionSocketConnectRequest {
					m.Action = wire.ActionSocketConnectResponse
				}
				b, _ := m.Append(nil)
				if _, err := server.Write(b); err != nil {
					return
				}
			}
		}()
		return client, nil
	}
}

func TestDaemonBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answerTime atomic.Int64
		answerTime.Store(int64(time.Hour))
		asked := 0
		connect := pipeDaemon(func() time.Duration { return time.Duration(answerTime.Load()) })
		d := &Daemon{connect: func(ctx context.Context) (net.Conn, error) { asked++; return connect(ctx) }}
		ask := func() (time.Duration, error) {
			start := time.Now()
			_, err := d.decide(t.Context(), target{host: "h"}, false, nil)
			return time.Since(start), err
		}
		if took, err := ask(); !errors.Is(err, os.ErrDeadlineExceeded) || took != allowed(intent.Set{}) {
			t.Errorf("first: %v after %v, want a timeout after %v", err, took, allowed(intent.Set{}))
		}
		for _, wait := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000} {
			if took, err := ask(); err != errBackingOff || took != 0 {
				t.Errorf("then: %v after %v, want none", err, took)
			}
			time.Sleep(wait*time.Millisecond - time.Nanosecond)
			if _, err := ask(); err != errBackingOff {
				t.Errorf("before %v ms: %v", wait, err)
			}
			time.Sleep(time.Nanosecond)
			if took, err := ask(); !errors.Is(err, os.ErrDeadlineExceeded) || took != minPatience {
				t.Errorf("after %v ms: %v after %v", wait, err, took)
			}
		}
		answerTime.Store(int64(time.Millisecond))
		time.Sleep(maxBackoff)
		for range 3 {
			if _, err := ask(); err != nil {
				t.Error(err)
			}
		}
		if asked != 14 {
			t.Errorf("%d connections, want 14", asked)
		}
		_ = d.Close()
		time.Sleep(2 * time.Hour) // let the slow answers end
	})
}

// An answer that comes too late is read and dropped. The connection is used again, and
// the next answer belongs to the next request.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64
		asked := 0
		connect := pipeDaemon(func() time.Duration { return time.Duration(delay.Load()) })
		d := &Daemon{DecisionTimeout: 50 * time.Millisecond, connect: func(ctx context.Context) (net.Conn, error) { asked++; return connect(ctx) }}
		ask := func(host string, takes time.Duration) (string, error) {
			delay.Store(int64(takes))
			var ans wire.Message
			_, err := d.ask(t.Context(), question{request: func(wire.Features) *wire.Message {
				return &wire.Message{Action: wire.ActionSocketConnectRequest, Context: wire.Context{Hostname: host}}
			}}, &ans)
			return ans.Context.Hostname, err
		}
		for _, tt := range []struct {
			takes time.Duration
			pause time.Duration // behind it
			late  bool
			conns int // connections made so far
		}{
			{60, 1000, true, 1}, // the greeting
			{20, 0, false, 1},
			{49, 0, false, 1},
			{51, 1000, true, 1}, // the request
			{1, 0, false, 1},
			{9000, 20000, true, 1},
			{1, 0, false, 1},
			{lateWait / time.Millisecond * 2, 60000, true, 1}, // nobody waits that long
			{1, 0, false, 2},
		} {
			host := fmt.Sprintf("h%d", tt.takes)
			got, err := ask(host, tt.takes*time.Millisecond)
			if late := errors.Is(err, os.ErrDeadlineExceeded); late != tt.late || !late && (err != nil || got != host) || asked != tt.conns {
				t.Errorf("an answer after %v ms: for %q, %v, %d connections; want for %q, late %t, %d", int(tt.takes), got, err, asked, host, tt.late, tt.conns)
			}
			time.Sleep(tt.pause * time.Millisecond)
		}
		_ = d.Close()
		time.Sleep(time.Hour) // let the slow answers end
	})
}

// Once the Daemon is closed, nobody waits for late answers of a daemon with extensions.
func TestCloseWithLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{connect: func(ctx context.Context) (net.Conn, error) {
			met := false
			return pipeDaemon(func() time.Duration {
				if !met {
					met = true
					return 0
				}
				return time.Minute
			})(ctx)
		}}
		var burst sync.WaitGroup
		for range 2 * maxIdleLinks {
			burst.Go(func() { _, _ = d.decide(t.Context(), target{host: "h"}, false, nil) })
		}
		burst.Wait()
		d.mu.Lock()
		if n := len(d.late); n != maxIdleLinks {
			t.Errorf("%d late answers are waited for", n)
		}
		d.mu.Unlock()
		begun := time.Now()
		_ = d.Close()
		if took := time.Since(begun); took != 0 || len(d.late) != 0 || len(d.idle) != 0 {
			t.Errorf("closed after %v, with %d and %d connections", took, len(d.late), len(d.idle))
		}
		time.Sleep(time.Hour) // let the slow answers end
	})
}

// Dials that time out together count as one outage, so the pause is not doubled for
// each.
func TestDaemonBackoffOfABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{connect: pipeDaemon(func() time.Duration { return time.Hour })}
		var burst sync.WaitGroup
		for range 8 {
			burst.Go(func() { _, _ = d.decide(t.Context(), target{host: "h"}, false, nil) })
		}
		burst.Wait()
		time.Sleep(firstBackoff)
		if _, err := d.decide(t.Context(), target{host: "h"}, false, nil); err == errBackingOff {
			t.Errorf("after %v the daemon is still left alone", firstBackoff)
		}
		_ = d.Close()
		time.Sleep(2 * time.Hour) // let the slow answers end
	})
}

// A server that does not speak the protocol is left alone for a while.
func TestDaemonTalksNonsense(t *testing.T) {
	greeting, err := (&wire.Message{Action: wire.ActionErrorUnknownRequest, Context: wire.Context{ID: uuid.UUID{1}}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := (&wire.Message{Action: wire.ActionSocketConnectResponse, Context: wire.Context{ID: uuid.UUID{2}}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		answers [][]byte
		backoff bool
	}{
		{"garbage", [][]byte{bytes.Repeat([]byte("garbage "), 4)}, true},
		{"more than an answer", [][]byte{append(slices.Clone(greeting), 0)}, false},
		{"answer for another connection", [][]byte{greeting, foreign}, true},
		{"nothing", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t)
			d := &Dialer{Daemon: &Daemon{DecisionTimeout: 5 * time.Second, connect: func(context.Context) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					defer func() { _ = server.Close() }()
					r := wire.NewReader(server)
					var m wire.Message
					for _, b := range test.answers {
						if r.Read(&m) != nil {
							return
						}
						if _, err := server.Write(b); err != nil {
							return
						}
					}
				}()
				return client, nil
			}}}
			if info, peer := dialServer(t, d, s, "127.0.0.1"); peer != "127.0.0.1" || info.Err == nil || info.Decided {
				t.Errorf("from %s, info %+v", peer, info)
			}
			if backoff := d.Daemon.backoff != 0; backoff != test.backoff {
				t.Errorf("back-off %v, want %v", backoff, test.backoff)
			}
			if n := len(d.Daemon.idle); n != 0 {
				t.Errorf("%d connections kept", n)
			}
		})
	}
}

func TestZeroDialerHasItsOwnDaemon(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	t.Setenv("MAMMA_SOCKET", f.path)
	var d Dialer
	if _, peer := dialServer(t, &d, startServer(t), "127.0.0.1"); peer != "127.0.0.2" {
		t.Errorf("from %s, want the suggestion", peer)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if n := len(d.own.idle); n != 0 {
		t.Errorf("%d connections to the daemon left", n)
	}
}

func TestDaemonLeavesTimeToDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{connect: pipeDaemon(func() time.Duration { return time.Hour })}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := d.decide(ctx, target{host: "h"}, false, nil); err == nil || time.Since(start) != 15*time.Millisecond {
			t.Errorf("%v after %v, want a failure after half the time", err, time.Since(start))
		}
		if _, err := d.decide(ctx, target{host: "h"}, false, nil); err != errBackingOff {
			t.Errorf("error %v, want %v", err, errBackingOff)
		}
		time.Sleep(2 * time.Hour) // let the slow answers end
	})
}

func TestDaemonSwitchedOff(t *testing.T) {
	d := &Daemon{DecisionTimeout: -1, connect: func(context.Context) (net.Conn, error) { panic("asked") }}
	if _, err := d.decide(t.Context(), target{}, false, nil); err != errDisabled {
		t.Errorf("error %v, want %v", err, errDisabled)
	}
}

func TestFindSocket(t *testing.T) {
	dir := t.TempDir()
	socket := func(elem ...string) string {
		path := filepath.Join(append([]string{dir}, elem...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		return path
	}
	explicit, byEnv, byRuntime := socket("a"), socket("b"), socket("run", "mamma", "mamma.sock")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			if i := slices.Index(kv, k); i >= 0 {
				return kv[i+1]
			}
			return ""
		}
	}
	run := filepath.Join(dir, "run")
	for _, test := range []struct {
		name   string
		path   string
		getenv func(string) string
		want   string
	}{
		{"given", explicit, env("MAMMA_SOCKET", byEnv), explicit},
		{"environment", "", env("MAMMA_SOCKET", byEnv, "XDG_RUNTIME_DIR", run), byEnv},
		{"runtime directory", "", env("XDG_RUNTIME_DIR", run), byRuntime},
		{"missing", filepath.Join(dir, "none"), env(), ""},
		{"environment names nothing", "", env("MAMMA_SOCKET", filepath.Join(dir, "none"), "XDG_RUNTIME_DIR", run), ""},
		{"not a socket", file, env(), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&Daemon{Path: test.path}).findSocket(test.getenv)
			if got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
	if _, err := (&Daemon{Path: filepath.Join(dir, "none")}).findSocket(env()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that it does not exist", err)
	}
}

// Nobody can keep the programs of others from the system's daemon by what is put where these
// look for their own: a directory in /tmp, a file, or a socket.
func TestSquattersHideNoDaemon(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	unset := func(string) string { return "" }
	const system = "/run/mamma/mamma.sock"
	own := filepath.Join(dir, fmt.Sprintf("mamma-%d", os.Geteuid()))
	if got := socketPaths(unset); !slices.Equal(got, []string{system}) {
		t.Errorf("without a directory: %q", got)
	}
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := socketPaths(unset); !slices.Equal(got, []string{filepath.Join(own, "mamma.sock"), system}) {
		t.Errorf("with a directory of one's own: %q", got)
	}
	if err := os.Chmod(own, 0o777); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	if got := socketPaths(unset); !slices.Equal(got, []string{system}) {
		t.Errorf("with a directory of others: %q", got)
	}
	good, file := filepath.Join(dir, "good"), filepath.Join(dir, "file")
	ln, err := net.Listen("unix", good)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{file, filepath.Join(file, "below"), filepath.Join(dir, "none")} {
		if got, err := firstSocket([]string{first, good}); got != good {
			t.Errorf("%s hides the socket: %v", first, err)
		}
	}
	if _, err := firstSocket([]string{file, filepath.Join(dir, "none")}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is odd is not told: %v", err)
	}
}

func TestForeignSocketIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a socket away")
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if err := os.Chown(path, 54321, -1); err != nil {
		t.Skipf("needs CAP_CHOWN over other users: %v", err)
	}
	if _, err := (&Daemon{Path: path}).dialDaemon(t.Context()); err == nil {
		t.Error("talked to the socket of another user")
	}
}

// If the daemon's queue is full, a program waits for a place as long as for an answer.
// The daemon then counts as late, not as missing.
func TestFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("the queue is not full: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := (&Daemon{Path: path}).dialDaemon(ctx); !isLate(err) || isAbsent(err) {
		t.Errorf("full until the end: %v", err)
	}
	dialled := make(chan error, 1)
	go func() {
		nc, err := (&Daemon{Path: path}).dialDaemon(t.Context())
		if err == nil {
			err = nc.Close()
		}
		dialled <- err
	}()
	taken, _, err := unix.Accept(fd) // makes a place
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(taken) }()
	if err := <-dialled; err != nil {
		t.Errorf("after a place was made: %v", err)
	}
}

// A daemon that does not run is looked for now and then, and found soon after it has
// started.
func TestAbsentDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		d := &Daemon{connect: func(context.Context) (net.Conn, error) {
			looks++
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}}
		for range 100 {
			var ans wire.Message
			if err := d.exchange(t.Context(), &wire.Message{Action: wire.ActionSocketConnectRequest}, &ans); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if looks != 20 {
			t.Errorf("looked for %d times in 100 ms, want each 5 ms", looks)
		}
	})
}
