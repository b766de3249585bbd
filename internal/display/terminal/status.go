package terminal

import (
	"io"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/display/table"
)

const (
	// patience is how long something may take before the line appears. Nothing flickers
	// for a task that ends sooner.
	patience = time.Second
	// redraw is the time between two updates of the line.
	redraw = 200 * time.Millisecond
)

// Control sequences that a Status writes (ECMA-48, CUU and EL).
const (
	CursorUp  = "\x1b[A" // moves the cursor to the line above
	EraseLine = "\x1b[K" // erases to the end of the line
)

// Status is a line below all other lines that tells how far a task is. It is safe for
// concurrent use.
type Status struct {
	w     io.Writer
	width func() int // of the terminal; nil: there is no terminal, and nothing is shown
	text  func(elapsed time.Duration) string

	stop       sync.Once
	end, ended chan struct{}

	mu    sync.Mutex // held while something is written
	shown bool       // the line is there, and the cursor stands below it
}

// Show shows the result of text on w, if w is a terminal. It begins after a second and
// ends with Stop. Another goroutine calls text, which must return a text without
// control characters.
func Show(w io.Writer, getenv func(string) string, text func(elapsed time.Duration) string) *Status {
	fd, tty := Of(w)
	if !tty || getenv("TERM") == "dumb" {
		return &Status{w: w}
	}
	return show(w, func() int { n, _ := Size(fd); return n }, text)
}

func show(w io.Writer, width func() int, text func(time.Duration) string) *Status {
	s := &Status{w: w, width: width, text: text, end: make(chan struct{}), ended: make(chan struct{})}
	go s.run()
	return s
}

func (s *Status) run() {
	defer close(s.ended)
	begun := time.Now()
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			s.draw(s.text(now.Sub(begun)))
			t.Reset(redraw)
		case <-s.end:
			return
		}
	}
}

func (s *Status) draw(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A full line may wrap, so the last cell stays free.
	_, _ = io.WriteString(s.w, s.backLocked()+EraseLine+table.Cut(text, s.width()-1)+"\n")
	s.shown = true
}

// backLocked returns the sequence that moves the cursor to the beginning of the line.
func (s *Status) backLocked() string {
	if !s.shown {
		return ""
	}
	return CursorUp
}

// Stop removes the line. Calling it again does nothing.
func (s *Status) Stop() {
	if s.width == nil {
		return
	}
	s.stop.Do(func() {
		close(s.end)
		<-s.ended
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.shown {
			_, _ = io.WriteString(s.w, CursorUp+EraseLine)
			s.shown = false
		}
	})
}

// Write writes whole lines to the terminal, above the line.
func (s *Status) Write(b []byte) (int, error) { return s.above(s.w, b) }

// Above returns a writer of whole lines to w, which may be the same terminal. The lines
// appear above the status.
func (s *Status) Above(w io.Writer) io.Writer { return above{s, w} }

type above struct {
	s *Status
	w io.Writer
}

func (a above) Write(b []byte) (int, error) { return a.s.above(a.w, b) }

func (s *Status) above(w io.Writer, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shown {
		s.shown = false
		if _, err := io.WriteString(s.w, CursorUp+EraseLine); err != nil {
			return 0, err
		}
	}
	return w.Write(b)
}
