package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// socketSet is a set of sockets to one destination, and the places taken in the set.
// The Pool forgets a set without sockets and places.
type socketSet struct {
	sockets []*Conn // the longest idle first
	busy    int     // number of places taken: one for each socket in use or about to be
	making  int     // number of these whose connection is being made
}

// place is the right to use a connection of a set; until admitted is closed, a wait for
// that right. The holder of a place hands it to the socket, or gives it back (leave).
type place struct {
	target target
	key    setKey
	reuse  bool // an idle socket will do

	admitted chan struct{}   // closed when the place is free; nil: there was no wait
	before   <-chan struct{} // closed when the previous holder has decided which socket to use; nil: nobody to wait for
	decided  chan struct{}   // the next one's before; nil: nobody waits, or it is closed
	making   bool            // a new connection is being made for this place
}

// enter takes a place if one is free, and queues up otherwise.
func (p *Pool) enter(ctx context.Context, network, address string, reuse bool) (*place, error) {
	w, err := p.newPlace(ctx, network, address, reuse)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fitsLocked(w) { // a later Get cannot overtake one that waits
		p.letInLocked(w)
		return w, nil
	}
	w.admitted = make(chan struct{})
	p.queue = append(p.queue, w)
	return w, nil
}

// newPlace makes a place that is not taken yet.
func (p *Pool) newPlace(ctx context.Context, network, address string, reuse bool) (*place, error) {
	t, ok, err := p.dialer().newTarget(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("get %s %s: only a host and port over tcp or udp can be placed", network, address)
	}
	t.reports = true
	return &place{target: t, key: setKey{t.typ, t.host, strconv.Itoa(int(t.port))}, reuse: reuse}, nil
}

// wait returns when the place is free and the previous holder has decided. After an
// error w must not be used any more.
func (p *Pool) wait(ctx context.Context, w *place) error {
	if w.admitted == nil && w.before == nil {
		return nil
	}
	if deadline := p.dialer().Net.Deadline; !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	if w.admitted != nil {
		select {
		case <-w.admitted:
		case <-ctx.Done():
			p.giveUp(w)
			return ctx.Err()
		}
	}
	if w.before == nil {
		return nil
	}
	// A holder that takes longer to decide is not waited for: a slow name server may be
	// the cause, which concerns nobody else.
	stuck := time.NewTimer(p.dialer().daemon().decisionTimeout(w.target.intents))
	defer stuck.Stop()
	select {
	case <-w.before:
	case <-stuck.C:
	case <-ctx.Done():
		p.leave(w)
		return ctx.Err()
	}
	return nil
}

// giveUp ends the wait for a place.
func (p *Pool) giveUp(w *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.admitted: // the place came free at the same time, and is given back
		p.leaveLocked(w)
	default:
		p.queue = slices.DeleteFunc(p.queue, func(o *place) bool { return o == w })
	}
}

// admitLocked gives free places to those that wait, in order of arrival. Whatever frees
// a place must call it.
func (p *Pool) admitLocked() {
	p.queue = slices.DeleteFunc(p.queue, func(w *place) bool {
		if !p.fitsLocked(w) {
			return false
		}
		p.letInLocked(w)
		close(w.admitted)
		return true
	})
}

func (p *Pool) fitsLocked(w *place) bool {
	set := p.sets[w.key]
	switch {
	case p.MaxConns > 0 && p.busy >= p.MaxConns:
		return false
	case p.MaxPerSet > 0 && set != nil && set.busy >= p.MaxPerSet:
		return false
	}
	return true
}

func (p *Pool) letInLocked(w *place) {
	set := p.sets[w.key]
	if set == nil {
		set = new(socketSet)
		if p.sets == nil {
			p.sets = make(map[setKey]*socketSet)
		}
		p.sets[w.key] = set
	}
	set.busy++
	p.busy++
	if p.MaxPerSet > 0 || p.MaxConns > 0 {
		w.before, w.decided = p.deciding, make(chan struct{})
		p.deciding = w.decided
	}
}

// decide tells the next holder of a place that this one has decided.
func (w *place) decide() {
	if w.decided != nil {
		close(w.decided)
		w.decided = nil
	}
}

// makeRoom notes that a new connection is made for the place, and closes an idle
// socket if there would be too many connections.
func (p *Pool) makeRoom(ctx context.Context, w *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := p.sets[w.key]
	w.making = true
	set.making++
	if ctx.Err() == nil { // else nothing will come of it
		if p.MaxPerSet > 0 && len(set.sockets)+set.making > p.MaxPerSet {
			p.closeOldestLocked(func(o *Conn) bool { return o.key == w.key })
		}
		open := 0
		for _, o := range p.sets {
			open += len(o.sockets) + o.making
		}
		if p.MaxConns > 0 && open > p.MaxConns && !p.closeOldestLocked(func(o *Conn) bool { return o.key != w.key }) {
			p.closeOldestLocked(func(o *Conn) bool { return o.key == w.key })
		}
	}
	w.decide()
}

// closeOldestLocked closes the eligible socket that has been idle for the longest time,
// and tells whether there was one.
func (p *Pool) closeOldestLocked(eligible func(*Conn) bool) bool {
	var oldest *Conn
	for _, set := range p.sets {
		for _, s := range set.sockets {
			if s.state == isIdle && eligible(s) && (oldest == nil || s.turn < oldest.turn) {
				oldest = s
			}
		}
	}
	if oldest == nil {
		return false
	}
	_ = p.closeLocked(oldest)
	return true
}

// leave gives back a place that no socket took.
func (p *Pool) leave(w *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(w)
}

func (p *Pool) leaveLocked(w *place) {
	set := p.sets[w.key]
	set.busy--
	p.busy--
	if w.making {
		set.making--
	}
	w.decide()
	p.forgetLocked(w.key)
	p.admitLocked()
}

// forgetLocked drops a set without sockets and places.
func (p *Pool) forgetLocked(key setKey) {
	if set := p.sets[key]; len(set.sockets) == 0 && set.busy == 0 {
		delete(p.sets, key)
	}
}
