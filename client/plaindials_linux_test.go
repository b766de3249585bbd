package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// slowDaemon is a daemon with extensions and without a kernel, so that time can be
// virtual.
type slowDaemon struct {
	mu       sync.Mutex
	greeting time.Duration
	answer   time.Duration
	asked    []string          // the hosts of decisions
	told     []wire.PlainDials // by requests and reports
}

func (s *slowDaemon) takes(greeting, answer time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greeting, s.answer = greeting, answer
}

func (s *slowDaemon) connect(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	go s.serve(server)
	return client, nil
}

func (s *slowDaemon) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := wire.NewReader(nc)
	for {
		var m wire.Message
		if r.Read(&m) != nil {
			return
		}
		s.mu.Lock()
		delay := s.answer
		switch m.Action {
		case wire.ActionSocketConnectRequest:
			s.asked = append(s.asked, m.Context.Hostname)
			m.Action, m.Reason = wire.ActionSocketConnectResponse, "of "+m.Context.Hostname
		case wire.ActionReportRequest:
			m.Action = wire.ActionReportResponse
		default:
			delay = s.greeting
		}
		if m.PlainDials != nil {
			s.told = append(s.told, *m.PlainDials)
		}
		s.mu.Unlock()
		time.Sleep(delay) // virtual
		m.Features, m.Context.ID, m.DecisionID, m.PlainDials = features, uuid.UUID{1}, uuid.New(), nil
		b, _ := m.Append(nil)
		if _, err := nc.Write(b); err != nil {
			return
		}
	}
}

func (s *slowDaemon) hosts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// The wait for a decision follows what answers took, and what the intents allow.
func TestWaitFollowsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowDaemon{greeting: 100 * ms, answer: 120 * ms}
		d := &Daemon{connect: s.connect}
		query := intent.Set{}.WithCategory(intent.CategoryQuery)
		ask := func(host string, in intent.Set) (time.Duration, error) {
			start := time.Now()
			_, err := d.decide(t.Context(), target{host: host, intents: in}, false, nil)
			return time.Since(start), err
		}
		if took, err := ask("first", query); err != nil || took != 220*ms {
			t.Errorf("first contact: %v after %v, want an answer after 220 ms", err, took)
		}
		s.takes(0, 240*ms)
		if took, err := ask("slow", query); err != nil || took != 240*ms {
			t.Errorf("on a host known as slow: %v after %v", err, took)
		}
		time.Sleep(2 * patienceSpan)
		s.takes(0, 1*ms)
		if took, err := ask("quick", query); err != nil || took != 1*ms {
			t.Errorf("quick again: %v after %v", err, took)
		}
		time.Sleep(2 * patienceSpan)
		// It becomes slow at once: that costs one dial, and no other one.
		s.takes(0, 200*ms)
		took, err := ask("late", query)
		if !errors.Is(err, os.ErrDeadlineExceeded) || took != 50*ms || err.Error() != "no answer within 50ms" {
			t.Errorf("late: %q after %v, want a time-out after 50 ms", err, took)
		}
		time.Sleep(time.Second)
		if took, err := ask("after", query); err != nil || took != 200*ms {
			t.Errorf("after a late answer: %v after %v", err, took)
		}
		// An answer that takes longer than any connection would wait is given up.
		s.takes(0, 5*time.Second)
		if took, err := ask("stuck", intent.Set{}); err == nil || took != 500*ms {
			t.Errorf("stuck: %v after %v", err, took)
		}
		if _, err := ask("stuck", intent.Set{}); err != errBackingOff {
			t.Errorf("stuck: %v", err)
		}
		_ = d.Close()
		time.Sleep(time.Minute) // let the slow answers end
	})
}

// A daemon that was restarted may be starting still.
func TestPatienceAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowDaemon{}
		var server net.Conn
		d := &Daemon{connect: func(context.Context) (net.Conn, error) {
			var client net.Conn
			client, server = net.Pipe()
			go s.serve(server)
			return client, nil
		}}
		ask := func() (time.Duration, error) {
			start := time.Now()
			_, err := d.decide(t.Context(), target{host: "h"}, false, nil)
			return time.Since(start), err
		}
		if _, err := ask(); err != nil {
			t.Fatal(err)
		}
		_ = server.Close()
		s.takes(300*ms, 0)
		if took, err := ask(); err != nil || took != 300*ms {
			t.Errorf("%v after %v, want an answer after 300 ms", err, took)
		}
		_ = d.Close()
	})
}

// A late answer serves the next dial of the same kind, and no other one.
func TestLateAnswerServesTheNextDial(t *testing.T) {
	bulk := intent.Set{}.WithFileSize(5)
	for _, tt := range []struct {
		name   string
		pause  time.Duration
		next   target
		served bool
	}{
		{"same", 200 * ms, target{host: "a", port: 1}, true},
		{"after a moment", 590 * ms, target{host: "a", port: 1}, true},
		{"too old", 900 * ms, target{host: "a", port: 1}, false},
		{"another host", 200 * ms, target{host: "b", port: 1}, false},
		{"another port", 200 * ms, target{host: "a", port: 2}, false},
		{"other intents", 200 * ms, target{host: "a", port: 1, intents: bulk}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowDaemon{answer: 600 * ms}
				d := &Daemon{connect: s.connect}
				if _, err := d.decide(t.Context(), target{host: "a", port: 1}, false, nil); !isLate(err) {
					t.Fatal(err)
				}
				time.Sleep(tt.pause)
				synctest.Wait()
				s.takes(0, 0)
				for i, served := range []bool{tt.served, false} {
					before, start := len(s.hosts()), time.Now()
					p, err := d.decide(t.Context(), tt.next, false, nil)
					if err != nil {
						t.Fatal(err)
					}
					if asked := len(s.hosts()) > before; asked == served || time.Since(start) != 0 || p.reason != "of "+tt.next.host {
						t.Errorf("dial %d: asked %t, %q", i, asked, p.reason)
					}
				}
				_ = d.Close()
				time.Sleep(time.Minute)
			})
		})
	}
}

// Dials that went plain are counted by reason, and the daemon is told of each once.
func TestPlainDialsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowDaemon{answer: 1500 * ms}
		absent := errors.New("nobody")
		connect := s.connect
		d := &Daemon{connect: func(ctx context.Context) (net.Conn, error) { return connect(ctx) }}
		dialer := &Dialer{Daemon: d}
		dial := func(ctx context.Context) error {
			dec, err := dialer.Decide(ctx, "tcp", "192.0.2.1:80")
			if err != nil {
				return err
			}
			return dec.Err()
		}
		for i, want := range []string{"no answer within 500ms", errBackingOff.Error(), errBackingOff.Error()} {
			if err := dial(t.Context()); err == nil || err.Error() != want {
				t.Errorf("dial %d: %v, want %s", i, err, want)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = dial(ended) // does not count: nothing is dialled
		want := PlainDials{Late: 1, LeftAlone: 2}
		if got := d.PlainDials(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		// The late answer shows that the daemon is well. It is told soon, though nobody dials.
		s.takes(0, 0)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		told := []wire.PlainDials{{Late: 1, LeftAlone: 2}}
		if diff := cmp.Diff(told, s.told); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
		_ = d.Close()
		for _, err := range []error{syscall.ECONNREFUSED, absent} {
			connect = func(context.Context) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Err: err} }
			if got := dial(t.Context()); !errors.Is(got, err) {
				t.Errorf("%v, want %v", got, err)
			}
			time.Sleep(lookEvery)
		}
		connect = s.connect
		for range 2 { // the first one tells
			if err := dial(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(append(told, wire.PlainDials{Absent: 1, Failed: 1}), s.told); diff != "" {
			t.Errorf("told (-want +got)\n%s", diff)
		}
		_ = d.Close()
	})
}

// starved is the end of a process that does not get the processor in time: its
// deadline passes while the answer is there.
type starved struct {
	*net.UnixConn
	missed bool
}

func (c *starved) Read(b []byte) (int, error) {
	if !c.missed {
		c.missed = true
		raw, err := c.SyscallConn()
		if err != nil {
			return 0, err
		}
		if err := raw.Read(func(uintptr) bool { return readable(c.UnixConn) }); err != nil {
			return 0, err
		}
		return 0, os.ErrDeadlineExceeded
	}
	return c.UnixConn.Read(b)
}

func TestAnswerThatIsThereIsNotLate(t *testing.T) {
	f := startFake(t, "", false, suggest("127.0.0.2"))
	var end *starved
	d := &Daemon{connect: func(context.Context) (net.Conn, error) {
		nc, err := net.Dial("unix", f.path)
		if err != nil {
			return nil, err
		}
		end = &starved{UnixConn: nc.(*net.UnixConn)}
		return end, nil
	}}
	p, err := d.decide(t.Context(), target{host: "h", typ: wire.SockStream}, false, nil)
	if err != nil || p.candidates[0].local.String() != "127.0.0.2" {
		t.Errorf("%v, %+v", err, p)
	}
	// Nor are the answers to reports that were sent together.
	end.missed = false
	var ans wire.Message
	report := func() *wire.Message { return &wire.Message{Action: wire.ActionReportRequest} }
	q := question{request: func(wire.Features) *wire.Message { return report() }, intents: unhurried}
	for len(q.more) < reportsAtOnce-1 {
		q.more = append(q.more, report())
	}
	if _, err := d.ask(t.Context(), q, &ans); err != nil || d.backoff != 0 {
		t.Errorf("%v; dials are plain for %v", err, d.backoff)
	}
	_ = d.Close()
}

// Info tells why a dial went plain.
func TestInfoOfPlainDial(t *testing.T) {
	s := startServer(t)
	d := dialer(t, filepath.Join(t.TempDir(), "none"))
	info, _ := dialServer(t, d, s, "127.0.0.1")
	if info.Decided || info.Err == nil || !strings.Contains(info.Err.Error(), "no socket at") || d.Daemon.PlainDials() != (PlainDials{Absent: 1}) {
		t.Errorf("info %+v, counted %+v", info, d.Daemon.PlainDials())
	}
}
