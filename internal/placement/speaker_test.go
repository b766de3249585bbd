package placement

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Nobody reads standard error, so that the pipe is full. Threads whose connections are to
// be told of go on all the same, and what is told stays in order and bounded.
func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		s := &speaker{out: w}
		begin := time.Now()
		s.line("first")
		if d := time.Since(begin); d > 2*speakPatience {
			t.Errorf("a line took %v", d)
		}
		begin = time.Now()
		const threads, each = 8, maxUnsaid
		var all sync.WaitGroup
		for range threads {
			all.Go(func() {
				for range each {
					s.line("connection")
				}
			})
		}
		s.once("topic", "once")
		all.Wait()
		if d := time.Since(begin); d > 2*speakPatience {
			t.Errorf("%d lines took %v", threads*each, d)
		}
		begin = time.Now()
		s.end()
		if d := time.Since(begin); d > 2*speakPatience {
			t.Errorf("the end took %v", d)
		}
		s.line("after the end")
		synctest.Wait()
		lines := make(chan []string)
		go func() {
			text, _ := io.ReadAll(r) // until the writer is closed
			lines <- strings.Split(strings.TrimSpace(string(text)), "\n")
		}()
		synctest.Wait()
		_ = w.Close()
		got := <-lines
		if n := maxUnsaid + 2; len(got) != n {
			t.Fatalf("%d lines were kept, want %d", len(got), n)
		}
		if first, last := got[0], got[len(got)-1]; first != "mammactl run: first" || !strings.Contains(last, "lines are missing here") {
			t.Errorf("the first line is %q, the last %q", first, last)
		}
	})
}

// Somebody reads, so a line is written before whoever prints it goes on.
func TestLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &speaker{out: &out}
		s.line("%q", "a\x1b[2J")
		s.line("%s", "a\x1b[2J") // whatever chose its own name
		s.once("b", "b")
		s.once("b", "c")
		want := "mammactl run: \"a\\x1b[2J\"\nmammactl run: a?[2J\nmammactl run: b\n"
		if got := out.String(); got != want {
			t.Errorf("written: %q, want %q", got, want)
		}
		s.end()
		if s.line("d"); out.String() != want {
			t.Errorf("written after the end: %q", out.String())
		}
	})
}

// What was told later, and before the end, is written by then.
func TestLaterLinesComeBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &speaker{out: &out}
		s.later("moved")
		s.end()
		if got, want := out.String(), "mammactl run: moved\n"; got != want {
			t.Errorf("written: %q, want %q", got, want)
		}
		if s.later("after"); strings.Contains(out.String(), "after") {
			t.Error("a line was written after the end")
		}
	})
}
