package client

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// stuck is a dial that hangs at some place. It tells when it has got there.
type stuck struct {
	dialer  *Dialer
	address string
	reached chan struct{}
}

// hangs are the places at which a dial can hang.
var hangs = map[string]func(t *testing.T) stuck{
	"connecting to the daemon": func(t *testing.T) stuck {
		s := stuck{address: "192.0.2.1:80", reached: make(chan struct{}, 1)}
		s.dialer = &Dialer{Daemon: &Daemon{DecisionTimeout: time.Hour, connect: func(ctx context.Context) (net.Conn, error) {
			s.reached <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}}}
		return s
	},
	"the daemon's greeting": func(t *testing.T) stuck {
		s := stuck{address: "192.0.2.1:80", reached: make(chan struct{}, 1)}
		s.dialer = &Dialer{Daemon: &Daemon{DecisionTimeout: time.Hour, connect: func(context.Context) (net.Conn, error) {
			nc, daemon := net.Pipe()
			t.Cleanup(func() { _ = daemon.Close() })
			go func() {
				_, _ = daemon.Read(make([]byte, wire.MaxMessage))
				s.reached <- struct{}{}
			}()
			return nc, nil
		}}}
		return s
	},
	"decision": func(t *testing.T) stuck {
		return silentAt(t, "192.0.2.1:80", wire.ActionSocketConnectRequest)
	},
	"resolution on a network": func(t *testing.T) stuck {
		return silentAt(t, "host.test:80", wire.ActionResolveRequest)
	},
	"resolution by ourselves": func(t *testing.T) stuck {
		f := startFake(t, "", false, func(m *wire.Message) bool {
			suggest("127.0.0.2")(m)
			m.Context.Result = nil
			return true
		})
		s := stuck{dialer(t, f.path), "host.test:80", make(chan struct{}, 10)}
		hangInResolver(&s)
		return s
	},
	"resolution without the daemon": func(t *testing.T) stuck {
		s := stuck{dialer(t, t.TempDir()+"/none"), "host.test:80", make(chan struct{}, 10)}
		hangInResolver(&s)
		return s
	},
	"connection": func(t *testing.T) stuck {
		f := startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3"))
		s := stuck{dialer(t, f.path), "127.0.0.1:" + closedPort(t), make(chan struct{}, 10)}
		hangInAttempt(t, &s)
		return s
	},
	"connection whose function hears of the context": func(t *testing.T) stuck {
		f := startFake(t, "", false, suggest("127.0.0.2", "127.0.0.3"))
		s := stuck{dialer(t, f.path), "127.0.0.1:" + closedPort(t), make(chan struct{}, 10)}
		hangUntilTheEnd(&s)
		return s
	},
	"connection without the daemon": func(t *testing.T) stuck {
		s := stuck{dialer(t, t.TempDir()+"/none"), "127.0.0.1:" + closedPort(t), make(chan struct{}, 10)}
		hangUntilTheEnd(&s)
		return s
	},
}

func silentAt(t *testing.T, address string, action wire.Action) stuck {
	reached := make(chan struct{}, 10)
	f := startFake(t, "", false, func(m *wire.Message) bool {
		if m.Action == action {
			reached <- struct{}{}
			return false
		}
		return suggest("127.0.0.2", "127.0.0.3")(m)
	})
	d := dialer(t, f.path)
	d.Daemon.DecisionTimeout, d.Daemon.ResolveTimeout = time.Hour, time.Hour
	return stuck{d, address, reached}
}

func hangInResolver(s *stuck) {
	s.dialer.Net.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		s.reached <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
}

// hangUntilTheEnd makes attempts hang until their context ends.
func hangUntilTheEnd(s *stuck) {
	s.dialer.Net.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		s.reached <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
}

// hangInAttempt makes attempts hang that ignore their context.
func hangInAttempt(t *testing.T, s *stuck) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.dialer.Net.Control = func(string, string, syscall.RawConn) error {
		s.reached <- struct{}{}
		<-release
		return errTest
	}
}

// Whatever a dial waits for, it ends with its context. It leaves nothing behind, as the
// check for leaks shows, and does not count as a failure of the daemon.
func TestCancel(t *testing.T) {
	for place, hang := range hangs {
		t.Run(place, func(t *testing.T) {
			s := hang(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-s.reached; cancel() }()
			nc, err := s.dialer.DialContext(ctx, "tcp", s.address)
			if err == nil {
				_ = nc.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			s.dialer.Daemon.mu.Lock()
			defer s.dialer.Daemon.mu.Unlock()
			if s.dialer.Daemon.backoff != 0 {
				t.Error("a cancelled dial counts against the daemon")
			}
		})
	}
}

// The same holds for the other functions that connect.
func TestCancelElsewhere(t *testing.T) {
	for way, connect := range map[string]func(ctx context.Context, s stuck) error{
		"Decide": func(ctx context.Context, s stuck) error {
			_, err := s.dialer.Decide(ctx, "tcp", s.address)
			return err
		},
		"Pool": func(ctx context.Context, s stuck) error {
			_, err := (&Pool{Dialer: s.dialer}).Get(ctx, "tcp", s.address)
			return err
		},
		"Pending": func(ctx context.Context, s stuck) error {
			_, err := (&Pool{Dialer: s.dialer}).Start(ctx, "tcp", s.address).Result()
			return err
		},
	} {
		t.Run(way, func(t *testing.T) {
			s := hangs["decision"](t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-s.reached; cancel() }()
			if err := connect(ctx, s); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
		})
	}
}
