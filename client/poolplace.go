package client

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// socketSet is the sockets of a set and the places in it. It is forgotten when it
// has neither.
type socketSet struct {
	sockets []*Conn // the longest idle first
	busy    int     // places: for each socket in use, and for who is about to have one
	making  int     // places with connections that are being made
}

// place is the right to a connection of a set, or the wait for it. It is the
// socket's in the end.
type place struct {
	target target
	key    setKey
	reuse  bool // an idle socket will do

	admitted chan struct{}   // closed when it may be had; nil: it was there at once
	before   <-chan struct{} // closed when who was admitted before has decided; nil: nobody, or it does not matter
	decided  chan struct{}   // what the next one waits for; nil: nothing, or closed
	making   bool            // makes a connection
}

// enter queues up for a place.
func (p *Pool) enter(ctx context.Context, network, address string, reuse bool) (*place, error) {
	t, ok, err := p.dialer().newTarget(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("get %s %s: neither a host and service over tcp or udp", network, address)
	}
	w := &place{target: t, key: setKey{t.typ, t.host, strconv.Itoa(int(t.port))}, reuse: reuse}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fitsLocked(w) { // then nobody waits for the same
		p.letInLocked(w)
		return w, nil
	}
	w.admitted = make(chan struct{})
	p.queue = append(p.queue, w)
	return w, nil
}

// wait returns when the place is there, and those before have decided. After an
// error it is gone.
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
	// One that asks for longer holds up nobody: its name may be being resolved.
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
	case <-w.admitted: // at the same time
		p.leaveLocked(w)
	default:
		p.queue = slices.DeleteFunc(p.queue, func(o *place) bool { return o == w })
	}
}

// admitLocked lets in who fits, in order of arrival. It must follow whatever
// frees a place.
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

// decide lets the next one decide.
func (w *place) decide() {
	if w.decided != nil {
		close(w.decided)
		w.decided = nil
	}
}

// makeRoom turns a place into that of a new connection, and closes idle sockets
// if there would be too many connections. There are enough idle ones: those in
// use or being made have places, and this one has none of these.
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

// closeOldestLocked closes the socket that is idle for longest of those that are
// eligible, and tells whether there was one.
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

// leave gives a place back that came to nothing.
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

// forgetLocked drops a set that nobody has anything to do with.
func (p *Pool) forgetLocked(key setKey) {
	if set := p.sets[key]; len(set.sockets) == 0 && set.busy == 0 {
		delete(p.sets, key)
	}
}
