package client

import (
	"context"
	"sync"
)

// Pending is a Pool.Get that runs in the background. It is safe for concurrent use.
type Pending struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	conn *Conn
	err  error
}

// Start begins a Get and returns at once. In a Pool with limits, Gets wait in the order
// in which they were started. Call Result or Cancel in the end.
func (p *Pool) Start(ctx context.Context, network, address string) *Pending {
	ctx, cancel := context.WithCancel(ctx)
	q := &Pending{cancel: cancel, done: make(chan struct{})}
	w, err := p.enter(ctx, network, address, true)
	go func() {
		var c *Conn
		if err == nil {
			c, err = p.connect(ctx, w)
		}
		q.mu.Lock()
		q.conn, q.err = c, err
		q.mu.Unlock()
		close(q.done)
	}()
	return q
}

// Done is closed as soon as Result does not block. To wait for several Pendings, select
// over their channels.
func (q *Pending) Done() <-chan struct{} { return q.done }

// Result waits for the end and returns what Get returned. After Cancel
// the error is context.Canceled.
func (q *Pending) Result() (*Conn, error) {
	<-q.done
	q.cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.conn
	q.conn = nil
	if c == nil && q.err == nil {
		return nil, context.Canceled
	}
	return c, q.err
}

// Cancel gives the Get up and waits until it has ended. If the Get already has a
// connection and Result has not returned it, the connection goes to the pool.
func (q *Pending) Cancel() {
	q.cancel()
	<-q.done
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.conn != nil {
		_ = q.conn.Release()
		q.conn = nil
	}
}
