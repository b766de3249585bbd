package service

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// If somebody can make a daemon log a message as often as they like, the number of
// lines is bounded. The log tells how often the message came, and its last line.
func TestRepeatedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpool()
		var got written
		log := slog.New(s.Handler(&got, slog.LevelDebug))
		lines := func() []string {
			synctest.Wait()
			text := regexp.MustCompile(`time=\S+ `).ReplaceAllString(got.take(), "")
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		for i := range 1000 {
			log.Warn("late", "err", fmt.Sprint("n", i))
			log.Info("here again")
		}
		log.Error("late") // another message
		all := lines()
		if len(all) != 2*repeatsSaid+1 || all[0] != "level=WARN msg=late err=n0" || all[len(all)-1] != "level=ERROR msg=late" {
			t.Errorf("%d lines: %q", len(all), all)
		}
		time.Sleep(repeatsPeriod)
		want := []string{
			fmt.Sprintf("level=WARN msg=late err=n999 repeated=%d", 1000-repeatsSaid),
			fmt.Sprintf("level=INFO msg=\"here again\" repeated=%d", 1000-repeatsSaid),
		}
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("after the period (-want +got)\n%s", diff)
		}
		log.Warn("late")
		if diff := cmp.Diff([]string{"level=WARN msg=late"}, lines()); diff != "" {
			t.Errorf("in the next period (-want +got)\n%s", diff)
		}
		time.Sleep(10 * repeatsPeriod)
		if diff := cmp.Diff([]string{""}, lines()); diff != "" {
			t.Errorf("when all is quiet (-want +got)\n%s", diff)
		}
		for range 2 * repeatsSaid {
			log.Debug("detail")
			log.Info(AccessMessage, "client", "127.0.0.1")
			Reload(log, func() error { return errors.New("no") }, "all stays")
			Reload(log, func() error { return nil }, "")
			log.Warn("late")
		}
		if n, want := len(lines()), 4*2*repeatsSaid+repeatsSaid; n != want {
			t.Errorf("%d lines of what was asked for, want %d", n, want)
		}
		s.Close(time.Minute)
		if diff := cmp.Diff([]string{fmt.Sprintf("level=WARN msg=late repeated=%d", repeatsSaid)}, lines()); diff != "" {
			t.Errorf("at the end (-want +got)\n%s", diff)
		}
	})
}

// The number of different messages that are counted is bounded.
func TestManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpool()
		var got bytes.Buffer
		h := s.Handler(&got, slog.LevelInfo)
		log := slog.New(h)
		for i := range 2 * maxMessages {
			log.Info(fmt.Sprint("message ", i))
		}
		synctest.Wait()
		if n := strings.Count(got.String(), "\n"); n != 2*maxMessages || len(h.repeats.messages) != maxMessages {
			t.Errorf("%d lines, %d remembered", n, len(h.repeats.messages))
		}
		s.Close(time.Minute)
	})
}

// written collects what a Spool writes in its own goroutine.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *written) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.text.Reset()
	return w.text.String()
}
