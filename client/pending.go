package client

import (
	"context"
	"sync"
)

// Pending is a SocketConnect that goes on in the background.
type Pending struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	socket   *Socket
	existing bool
	err      error
}

// Start begins a SocketConnect and returns at once. Where the Pool has limits,
// those that are begun one after the other wait in that order. Result or Cancel
// must be called in the end.
func (p *Pool) Start(ctx context.Context, network, address string) *Pending {
	ctx, cancel := context.WithCancel(ctx)
	q := &Pending{cancel: cancel, done: make(chan struct{})}
	w, err := p.enter(ctx, network, address, true)
	go func() {
		var s *Socket
		var existing bool
		if err == nil {
			s, existing, err = p.connect(ctx, w)
		}
		q.mu.Lock()
		q.socket, q.existing, q.err = s, existing, err
		q.mu.Unlock()
		close(q.done)
	}()
	return q
}

// Done is closed as soon as Result does not block. Waiting for several is a
// select over their channels.
func (q *Pending) Done() <-chan struct{} { return q.done }

// Result waits for the end and returns what SocketConnect returned. After Cancel
// the error is context.Canceled.
func (q *Pending) Result() (s *Socket, existing bool, err error) {
	<-q.done
	q.cancel()
	q.mu.Lock()
	defer q.mu.Unlock()
	s, q.socket = q.socket, nil
	if s == nil && q.err == nil {
		return nil, false, context.Canceled
	}
	return s, q.existing, q.err
}

// Cancel gives up and waits for the end. A socket that was there already is
// released into the pool, unless Result has returned it.
func (q *Pending) Cancel() {
	q.cancel()
	<-q.done
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.socket != nil {
		_ = q.socket.Release()
		q.socket = nil
	}
}
