package busname

import (
	"context"
	"sync"

	"github.com/socket-intents/mamma/internal/process/systembus"
)

// A queue holds at most maxCalls calls, and of one sender maxOfOne: desktops have a few
// programs that ask, each one thing at a time.
const (
	maxCalls = 64
	maxOfOne = 8
)

// call is a call of a method as it came.
type call struct {
	systembus.Header
	raw []byte // nil: too long
}

// queue is what is to be answered. It is safe for concurrent use.
type queue struct {
	calls chan call

	mu sync.Mutex
	of map[string]int // how many are waiting, by sender
}

func newQueue() *queue { return &queue{calls: make(chan call, maxCalls), of: map[string]int{}} }

// add takes a call; false if there are too many.
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

// serve has each call answered, one after the other, until ctx ends.
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
