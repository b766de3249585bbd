package client

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/socket-intents/mamma/internal/wire"
)

// One timer serves exchanges of any length, in any order.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var delay atomic.Int64
		nc, err := pipeDaemon(func() time.Duration { return time.Duration(delay.Load()) })(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l := &link{nc: nc, reader: wire.NewReader(nc)}
		ask := func(limit, takes time.Duration) (time.Duration, error) {
			delay.Store(int64(takes))
			begun := time.Now()
			var ans wire.Message
			err := l.exchange(t.Context(), begun.Add(limit), &ans, &wire.Message{Action: wire.ActionSocketConnectRequest})
			return time.Since(begun), err
		}
		for i, tt := range []struct{ limit, takes, pause time.Duration }{
			{50, 40, 0},
			{50, 49, 0}, // the timer is still that of the first
			{50, 1, 1000},
			{50, 49, 0}, // the timer had run out
			{9999, 60, 0},
			{50, 49, 20000}, // sooner than the timer fires
			{50, 49, 0},
		} {
			if took, err := ask(tt.limit*time.Millisecond, tt.takes*time.Millisecond); err != nil || took != tt.takes*time.Millisecond || l.broken {
				t.Fatalf("exchange %d: %v after %v, broken %t", i, err, took, l.broken)
			}
			time.Sleep(tt.pause * time.Millisecond)
		}
		if took, err := ask(50*time.Millisecond, 51*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) || took != 50*time.Millisecond || l.owed != 1 {
			t.Errorf("late answer: %v after %v, %d outstanding", err, took, l.owed)
		}
		l.close()
		time.Sleep(time.Second) // let the late answer end
	})
}

// A connection can be used again after an exchange was interrupted. An interruption
// that comes after the end of an exchange does not affect the next one.
func TestLimitReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		var l limit
		turn := l.begin(a, time.Now().Add(time.Second))
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := a.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v, want that it was interrupted", err)
		}
		l.end(a)
		if _, err := a.Write([]byte{1}); err != nil {
			t.Errorf("error %v after the interrupted exchange", err)
		}
		l.begin(a, time.Now().Add(time.Second))
		l.cancel(a, turn)
		if _, err := a.Write([]byte{1}); err != nil {
			t.Errorf("error %v, which the exchange before was to have", err)
		}
		l.end(a)
		l.stop()
		_, _ = a.Close(), b.Close()
	})
}
