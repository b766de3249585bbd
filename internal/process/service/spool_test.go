package service

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpool()
		var got bytes.Buffer
		a, b := s.Writer(&got), s.Writer(&got)
		for i := range 3 {
			_, _ = fmt.Fprintf(a, "a%d ", i)
			_, _ = fmt.Fprintf(b, "b%d ", i)
		}
		s.Close(time.Minute)
		if want := "a0 b0 a1 b1 a2 b2 "; got.String() != want {
			t.Errorf("got %q, want %q", &got, want)
		}
		if n, err := a.Write([]byte("late")); n != 4 || err != nil || s.Lost() != 1 {
			t.Errorf("after the end: %d, %v", n, err)
		}
	})
}

// stuck blocks until it is closed, and then fails.
type stuck chan struct{}

func (s stuck) Write([]byte) (int, error) {
	<-s
	return 0, errors.New("broken")
}

// If the reader hangs, text for which there is no room is lost, and the end takes a
// bounded time.
func TestStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, reader := NewSpool(), make(stuck)
		var got bytes.Buffer
		w, other := s.Writer(reader), s.Writer(&got)
		line := strings.Repeat("x", room/8)
		for range 10 {
			if n, err := io.WriteString(w, line); n != len(line) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if n := s.Lost(); n != 2 {
			t.Errorf("%d lost, want 2", n)
		}
		if n := s.Lost(); n != 0 {
			t.Errorf("%d lost since", n)
		}
		close(reader)
		synctest.Wait()
		_, _ = io.WriteString(other, "room again")
		synctest.Wait()
		if got.String() != "room again" || s.Lost() != 0 {
			t.Errorf("passed on %q", &got)
		}
		reader2 := make(stuck)
		_, _ = io.WriteString(s.Writer(reader2), line)
		begun := time.Now()
		s.Close(time.Second)
		if d := time.Since(begun); d != time.Second {
			t.Errorf("the end took %v", d)
		}
		close(reader2)
	})
}

func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSpool()
		defer s.Close(time.Minute)
		var got bytes.Buffer
		level := new(slog.LevelVar)
		h := s.Handler(&got, level)
		log := slog.New(h)
		log.Info("one", "k", 1)
		log.Debug("hidden")
		h.SetJSON(true)
		level.Set(slog.LevelDebug)
		log.Debug("two")
		h.SetJSON(false)
		log.Info(strings.Repeat("x", room)) // too long
		log.Info("three")
		synctest.Wait()
		stamp := regexp.MustCompile(`time=\S+ |"time":"[^"]*",`)
		want := "level=INFO msg=one k=1\n" + `{"level":"DEBUG","msg":"two"}` + "\n" +
			`level=WARN msg="messages were lost, because nobody read them" n=1` + "\nlevel=INFO msg=three\n"
		if diff := cmp.Diff(want, stamp.ReplaceAllString(got.String(), "")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}
