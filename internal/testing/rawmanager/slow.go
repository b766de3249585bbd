package rawmanager

import (
	"context"
	"testing"

	"github.com/socket-intents/mamma/internal/wire"
)

// Slow is an original daemon that answers a request only when nobody waits for the
// answer any more.
type Slow struct {
	*Daemon
	asked, answer chan struct{}
	sent          chan error
}

// StartSlow starts a Slow that ends with the test.
func StartSlow(t testing.TB) *Slow {
	t.Helper()
	s := &Slow{asked: make(chan struct{}), answer: make(chan struct{}), sent: make(chan error)}
	suggest := Suggest("127.0.0.2")
	s.Daemon = start(t, "", true, func(m *wire.Message) bool {
		s.asked <- struct{}{}
		<-s.answer
		return suggest(m)
	}, func(err error) { s.sent <- err })
	return s
}

// GiveUp calls connect, which must ask the daemon once, and ends connect's context
// after that. The answer comes when connect has returned. The test fails if the
// connection to the daemon was closed before the answer.
func (s *Slow) GiveUp(t testing.TB, connect func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		connect(ctx)
	}()
	<-s.asked
	cancel()
	<-done
	s.answer <- struct{}{}
	if err := <-s.sent; err != nil {
		t.Errorf("a connection was closed before its answer came: %v", err)
	}
}
