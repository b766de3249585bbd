package busname

import (
	"context"
	"sync"

	"github.com/socket-intents/mamma/internal/process/systembus"
)

// A queue holds at most maxCalls calls, at most maxOfOne of them from one sender. A
// desktop has few programs that ask, and each asks for one thing at a time.
const (
	maxCalls = 64
	maxOfOne = 8
)

// call is a method call, not decoded yet.
type call struct {
	systembus.Header
	raw []byte // nil: the call is too long
}

// queue holds the calls that wait for an answer. It is safe for concurrent use.
type queue struct {
	calls chan call

	mu sync.Mutex
	of map[string]int // number of waiting calls by sender
}

func newQueue() *queue { return &queue{calls: make(chan call, maxCalls), of: map[string]int{}} }

// add adds a call. It returns false if there are too many.
func (q *queue) add(c call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.of[c.Sender] >= maxOfOne {
		return false
	}
	select {
	case q.calls <- c:
		q.of[c.Sender]++
		return true
	default:
		return false
	}
}

// serve answers the calls, one after the other, until ctx ends.
func (q *queue) serve(ctx context.Context, answer func(call)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-q.calls:
			answer(c)
			q.mu.Lock()
			if q.of[c.Sender]--; q.of[c.Sender] == 0 {
				delete(q.of, c.Sender)
			}
			q.mu.Unlock()
		}
	}
}
