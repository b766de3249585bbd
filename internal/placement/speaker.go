package placement

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/socket-intents/mamma/internal/display"
)

const (
	// speakPatience is how long whoever prints a line waits until it is written. So lines
	// mostly come before what the program prints afterwards.
	speakPatience = 100 * time.Millisecond
	// maxUnsaid bounds the lines that wait while nobody reads standard error.
	maxUnsaid = 256
)

// speaker prints lines on standard error, for the person at the terminal. It cleans
// them, because a program can have any name and errors may quote anything. If nobody reads
// them, connections do not wait for that: lines are kept within bounds, and further ones
// are counted. The zero value is ready to use. A speaker is safe for concurrent use.
type speaker struct {
	out io.Writer // nil: standard error

	mu     sync.Mutex
	told   map[string]bool
	ended  bool
	unsaid []string      // lines that nobody writes yet
	missed int           // lines for which there was no room
	done   chan struct{} // closed once all lines are written; nil: they are
	late   bool          // somebody has waited for that in vain
}

// line prints a line.
func (s *speaker) line(format string, args ...any) {
	s.wait(s.put("", format, args))
}

// later has a line printed, and does not wait for that. A line that is taken before end is
// called is not lost, unless nobody reads.
func (s *speaker) later(format string, args ...any) {
	s.put("", format, args)
}

// once prints a line if nothing about the topic was printed before.
func (s *speaker) once(topic, format string, args ...any) {
	s.wait(s.put(topic, format, args))
}

// put takes a line, which is about a topic or about "". It returns what to wait for, or
// nil.
func (s *speaker) put(topic, format string, args []any) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[topic] {
		return nil
	}
	if topic != "" {
		if s.told == nil {
			s.told = map[string]bool{}
		}
		s.told[topic] = true
	}
	switch {
	case s.ended:
		return nil
	case len(s.unsaid) >= maxUnsaid:
		s.missed++
	default:
		s.unsaid = append(s.unsaid, said(format, args...))
	}
	if s.done == nil {
		s.done = make(chan struct{})
		go s.write()
	}
	if s.late {
		return nil
	}
	return s.done
}

func said(format string, args ...any) string {
	return "mammactl run: " + display.Clean(fmt.Sprintf(format, args...)) + "\n"
}

// write writes the lines that there are, and those that come meanwhile.
func (s *speaker) write() {
	out := s.out
	if out == nil {
		out = os.Stderr
	}
	for {
		s.mu.Lock()
		if s.missed > 0 {
			s.unsaid = append(s.unsaid, said("%d lines are missing here, because the ones before were not read in time", s.missed))
		}
		text := strings.Join(s.unsaid, "")
		s.unsaid, s.missed = nil, 0
		if text == "" {
			close(s.done)
			s.done, s.late = nil, false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		_, _ = io.WriteString(out, text) // an error is ignored: nobody is there to be told
	}
}

// wait waits a moment for done, unless it is nil.
func (s *speaker) wait(done <-chan struct{}) {
	if done == nil {
		return
	}
	patience := time.NewTimer(speakPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
		s.mu.Lock()
		s.late = s.done == done
		s.mu.Unlock()
	}
}

// end stops all further printing, once what was said before is written or nobody reads it.
func (s *speaker) end() {
	s.mu.Lock()
	s.ended = true
	done := s.done
	s.mu.Unlock()
	s.wait(done)
}
