package terminal

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// Nothing is shown within the first second. The line disappears at the end, and lines
// of others remain.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := show(&out, func() int { return 12 }, func(d time.Duration) string { return fmt.Sprintf("waiting for %d ms", d.Milliseconds()) })
		drawn := func() string { // since the last call
			s.mu.Lock()
			defer s.mu.Unlock()
			defer out.Reset()
			return out.String()
		}
		time.Sleep(patience - 1)
		synctest.Wait()
		if got := drawn(); got != "" {
			t.Errorf("too soon: %q", got)
		}
		time.Sleep(redraw + 2)
		synctest.Wait()
		const line = EraseLine + "waiting fo…\n"
		if got, want := drawn(), line+CursorUp+line; got != want {
			t.Errorf("drawn %q, want %q", got, want)
		}
		if _, err := s.Write([]byte("trouble\n")); err != nil {
			t.Error(err)
		}
		time.Sleep(redraw)
		synctest.Wait()
		s.Stop()
		s.Stop()
		if got, want := drawn(), CursorUp+EraseLine+"trouble\n"+line+CursorUp+EraseLine; got != want {
			t.Errorf("drawn %q, want %q", got, want)
		}
		short := show(&out, func() int { return 80 }, func(time.Duration) string { return "x" })
		short.Stop()
		if out.Len() > 0 {
			t.Errorf("shown though it took no time: %q", &out)
		}
	})
}

// Without a terminal nothing is shown, and what is written passes.
func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read
	for _, v := range []any{nil, (*os.File)(nil), &bytes.Buffer{}, w} {
		if _, ok := Of(v); ok {
			t.Errorf("%T is a terminal", v)
		}
	}
	if width, height := Size(int(w.Fd())); width != 80 || height != 24 {
		t.Errorf("%d by %d", width, height)
	}
	s := Show(w, os.Getenv, func(time.Duration) string { t.Error("asked for a text"); return "" })
	if _, err := s.Write([]byte("line\n")); err != nil {
		t.Error(err)
	}
	s.Stop()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil || got.String() != "line\n" {
		t.Errorf("%q, %v", &got, err)
	}
}
