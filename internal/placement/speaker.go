package placement

import (
	"fmt"
	"os"
	"sync"

	"github.com/socket-intents/mamma/internal/display"
)

// speaker prints lines on standard error, for the person at the terminal. It cleans
// them, because a program can have any name and errors may quote anything. The zero
// value is ready to use. A speaker is safe for concurrent use.
type speaker struct {
	mu    sync.Mutex
	told  map[string]bool
	ended bool
}

// line prints a line.
func (s *speaker) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lineLocked(format, args...)
}

func (s *speaker) lineLocked(format string, args ...any) {
	if !s.ended {
		_, _ = fmt.Fprintf(os.Stderr, "mammactl run: %s\n", display.Clean(fmt.Sprintf(format, args...)))
	}
}

// once prints a line if nothing about the topic was printed before.
func (s *speaker) once(topic, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[topic] {
		return
	}
	if s.told == nil {
		s.told = map[string]bool{}
	}
	s.told[topic] = true
	s.lineLocked(format, args...)
}

// end stops all further printing.
func (s *speaker) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}
