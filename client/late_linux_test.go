package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/socket-intents/mamma/intent"
	"github.com/socket-intents/mamma/internal/wire"
)

// slowOriginal is an original daemon without a kernel, so that time can be virtual.
type slowOriginal struct {
	mu         sync.Mutex
	greeting   time.Duration // the time to answer a greeting
	answer     time.Duration // the time to answer a request
	links      int
	unanswered int // answers whose connection was closed already
	answered   int
}

func (s *slowOriginal) set(greeting, answer time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.greeting, s.answer = greeting, answer
}

func (s *slowOriginal) counts() (links, answered, unanswered int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links, s.answered, s.unanswered
}

func (s *slowOriginal) connect(context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	s.mu.Lock()
	s.links++
	s.mu.Unlock()
	go s.serve(server)
	return client, nil
}

func (s *slowOriginal) serve(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	r := wire.NewReader(nc)
	for {
		var m wire.Message
		if r.Read(&m) != nil {
			return
		}
		s.mu.Lock()
		delay := s.greeting
		if m.Action == wire.ActionSocketConnectRequest {
			delay, m.Action = s.answer, wire.ActionSocketConnectResponse
		}
		s.mu.Unlock()
		time.Sleep(delay) // virtual
		m.Features, m.Context.ID = 0, uuid.UUID{1}
		b, _ := m.Append(nil)
		_, err := nc.Write(b)
		s.mu.Lock()
		if err != nil {
			s.unanswered++
		} else {
			s.answered++
		}
		s.mu.Unlock()
	}
}

// ask asks about a connection to an address, which the manager need not resolve.
func (s *slowOriginal) ask(ctx context.Context, d *Daemon) (time.Duration, error) {
	start := time.Now()
	_, err := d.decide(ctx, target{host: "192.0.2.1", literal: netip.MustParseAddr("192.0.2.1")}, false, nil)
	return time.Since(start), err
}

// The original daemon may take longer than others for a decision, because it measures
// meanwhile.
func TestOriginalHasMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowOriginal{greeting: 40 * time.Millisecond, answer: 300 * time.Millisecond}
		d := &Daemon{connect: s.connect}
		if took, err := s.ask(t.Context(), d); err != nil || took != 340*time.Millisecond {
			t.Errorf("%v after %v, want an answer after 340 ms", err, took)
		}
		// Once it is known, it also has more time for the greeting.
		_ = d.Close()
		s.set(200*time.Millisecond, 300*time.Millisecond)
		if took, err := s.ask(t.Context(), d); err != nil || took != 500*time.Millisecond {
			t.Errorf("%v after %v, want an answer after 500 ms", err, took)
		}
		_ = d.Close()
	})
}

// A late greeting shows that the daemon is an original one. The next request has more
// time, on the same connection.
func TestLateGreeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowOriginal{greeting: 580 * time.Millisecond, answer: 580 * time.Millisecond}
		d := &Daemon{connect: s.connect}
		if took, err := s.ask(t.Context(), d); !errors.Is(err, os.ErrDeadlineExceeded) || took != allowed(intent.Set{}) {
			t.Errorf("%v after %v, want a timeout after %v", err, took, allowed(intent.Set{}))
		}
		time.Sleep(80 * time.Millisecond)
		synctest.Wait()
		if took, err := s.ask(t.Context(), d); err != nil || took != 580*time.Millisecond {
			t.Errorf("%v after %v, want an answer after 580 ms", err, took)
		}
		if links, _, unanswered := s.counts(); links != 1 || unanswered != 0 {
			t.Errorf("%d connections, %d closed before their answer came", links, unanswered)
		}
		_ = d.Close()
	})
}

// If a call is given up, the connection stays open until the answer has come.
func TestGivenUpConnectionStaysOpen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		giveUp func(ctx context.Context) (context.Context, context.CancelFunc)
		takes  time.Duration // the call returns within this time
		late   time.Duration // the answer comes after this time
	}{
		{"after the resolver's time", context.WithCancel, defaultResolveTimeout, 15 * time.Second},
		{"at half of the caller's time", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, 500 * time.Millisecond, 2 * time.Second},
		{"when the caller cancels", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(100*time.Millisecond, cancel)
			return ctx, cancel
		}, 100 * time.Millisecond, time.Second},
	} {
		for _, closes := range []bool{false, true} {
			t.Run(map[bool]string{false: tt.name, true: tt.name + ", then Close"}[closes], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &slowOriginal{answer: tt.late}
					d := &Daemon{connect: s.connect}
					ctx, cancel := tt.giveUp(t.Context())
					defer cancel()
					if took, err := s.ask(ctx, d); err == nil || took != tt.takes {
						t.Errorf("%v after %v, want a failure after %v", err, took, tt.takes)
					}
					if closes {
						_ = d.Close()
					}
					time.Sleep(time.Minute)
					synctest.Wait()
					s.set(0, 0)
					if _, err := s.ask(t.Context(), d); err != nil {
						t.Error(err)
					}
					links, _, unanswered := s.counts()
					if unanswered != 0 {
						t.Error("a connection was closed before its answer came")
					}
					if want := map[bool]int{false: 1, true: 2}[closes]; links != want {
						t.Errorf("%d connections, want %d", links, want)
					}
					_ = d.Close()
				})
			})
		}
	}
}

// The number of late answers that are waited for is bounded. The wait ends for those
// that never come.
func TestLateAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowOriginal{answer: time.Hour}
		d := &Daemon{connect: s.connect}
		for range maxLate {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			if _, err := s.ask(ctx, d); !errors.Is(ctx.Err(), context.Canceled) || err == nil {
				t.Fatal(err)
			}
		}
		if took, err := s.ask(t.Context(), d); err != errLate || took != 0 {
			t.Errorf("%v after %v, want %v at once", err, took, errLate)
		}
		time.Sleep(lateWaitOriginal)
		synctest.Wait()
		s.set(0, 0)
		if _, err := s.ask(t.Context(), d); err != nil {
			t.Errorf("the daemon is left alone still: %v", err)
		}
		_ = d.Close()
		time.Sleep(time.Hour) // let the slow answers end
	})
}

// Flush waits for the answers that an original daemon owes, given up or not, and for
// nothing else. If no answer is owed, it does not wait.
func TestFlushWaitsForAnOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowOriginal{greeting: 40 * time.Millisecond, answer: 3 * time.Second}
		d := &Daemon{connect: s.connect}
		if err := d.Flush(t.Context()); err != nil {
			t.Errorf("before anything was asked: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() {
			_, err := s.ask(ctx, d)
			given <- err
		}()
		time.Sleep(time.Second)
		ended, end := context.WithCancel(t.Context())
		end()
		if err := d.Flush(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("without time: %v", err)
		}
		cancel()
		if err := <-given; err == nil {
			t.Fatal("answered in spite of its context")
		}
		start := time.Now()
		if err := d.Flush(t.Context()); err != nil || time.Since(start) != 2040*time.Millisecond {
			t.Errorf("%v after %v, want to wait for 2.04 s", err, time.Since(start))
		}
		synctest.Wait()
		if _, answered, unanswered := s.counts(); answered != 2 || unanswered != 0 {
			t.Errorf("%d answers came, %d found the connection closed", answered, unanswered)
		}
		start = time.Now()
		if err := d.Flush(t.Context()); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v, though nothing is owed", err, time.Since(start))
		}
		_ = d.Close()
	})
}

// If nothing comes from an original daemon, Flush waits no longer than its resolver may
// need.
func TestFlushGivesASilentOriginalUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowOriginal{answer: time.Hour}
		d := &Daemon{connect: s.connect}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.ask(ctx, d); err == nil {
			t.Fatal("answered in spite of its context")
		}
		start := time.Now()
		if err := d.Flush(t.Context()); err != nil || time.Since(start) != 16*time.Second {
			t.Errorf("%v after %v, want to wait for 16 s", err, time.Since(start))
		}
		_ = d.Close()
		time.Sleep(time.Hour) // let the slow answer end
	})
}
