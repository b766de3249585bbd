package stage

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// outputSize is how much of what a program prints is kept. A flood of messages
// is a fault of its own, and seen by Printed.
const outputSize = 1 << 20

// Output collects the beginning of what a program prints and lets tests wait for
// parts of it. It may be used concurrently.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
	size int           // of all that was printed
	more chan struct{} // closed and replaced at every write
}

// NewOutput makes an empty one.
func NewOutput() *Output { return &Output{more: make(chan struct{})} }

func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.size += len(b)
	if o.text.Len() < outputSize {
		o.text.Write(b)
	}
	close(o.more)
	o.more = make(chan struct{})
	return len(b), nil
}

// String is what was printed so far; "" of a nil Output.
func (o *Output) String() string {
	if o == nil {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Printed is how many bytes were printed, those that are not kept included.
func (o *Output) Printed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size
}

// Await returns once text was printed n times.
func (o *Output) Await(t testing.TB, text string, n int) {
	t.Helper()
	deadline := time.After(Patience)
	for {
		o.mu.Lock()
		found := strings.Count(o.text.String(), text) >= n
		more := o.more
		o.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q was not printed %d times in:\n%s", text, n, o)
		}
	}
}
