package service

import (
	"io"
	"sync"
	"time"
)

// room is how many bytes may wait. It is enough for a burst of messages of a busy
// daemon, or for its whole state printed at once.
const room = 1 << 20

// Spool passes on what a daemon prints, on a goroutine of its own. A reader that does
// not read, such as a journal that hangs, therefore does not hold the daemon up. Text
// for which there is no room is dropped and counted.
//
// A Spool keeps the order in which text was written. It is safe for concurrent use.
type Spool struct {
	done chan struct{} // closed when all is passed on after Close

	mu      sync.Mutex
	changed sync.Cond // of waiting or closed
	waiting []piece
	size    int // of waiting, in bytes
	lost    int
	closed  bool
	// handlers may have something left to say at the end.
	handlers []*Handler
}

type piece struct {
	to   io.Writer
	text []byte
}

// NewSpool makes a Spool; Close ends it.
func NewSpool() *Spool {
	s := &Spool{done: make(chan struct{})}
	s.changed.L = &s.mu
	go s.run()
	return s
}

// Writer makes a writer that passes text on to w. Its Write never blocks and never
// fails. Later errors of w are ignored: there is no place left to report them.
func (s *Spool) Writer(w io.Writer) io.Writer { return &writer{s, w} }

type writer struct {
	spool *Spool
	to    io.Writer
}

func (w *writer) Write(b []byte) (int, error) {
	s := w.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size+len(b) > room || s.closed {
		s.lost++
		return len(b), nil
	}
	s.waiting = append(s.waiting, piece{w.to, append([]byte(nil), b...)}) // b is the caller's
	s.size += len(b)
	s.changed.Signal()
	return len(b), nil
}

// Lost returns how many writes were dropped since the last call.
func (s *Spool) Lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.lost
	s.lost = 0
	return n
}

// run passes on until Close.
func (s *Spool) run() {
	defer close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.waiting) == 0 {
			if s.closed {
				return
			}
			s.changed.Wait()
		}
		p := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		_, _ = p.to.Write(p.text)
		s.mu.Lock()
		s.size -= len(p.text) // not before: it still takes memory
	}
}

// Close drops what is written from now on, and waits until what was written
// before is passed on, for limit at most. It may be called once.
func (s *Spool) Close(limit time.Duration) {
	s.mu.Lock()
	handlers := s.handlers
	s.mu.Unlock()
	for _, h := range handlers {
		h.repeats.stop()
	}
	s.mu.Lock()
	s.closed = true
	s.changed.Signal()
	s.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
}
