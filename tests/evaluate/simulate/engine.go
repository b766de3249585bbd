package simulate

import (
	"slices"
	"time"
)

// engine is virtual time: paths with what is on its way, and timers.
type engine struct {
	now    time.Duration
	paths  []*path
	timers []timer // a heap
	count  uint64
}

// timer is something to do at a time. Of equal times the one set first comes first.
type timer struct {
	at time.Duration
	n  uint64
	do func()
}

func (t timer) before(u timer) bool { return t.at < u.at || t.at == u.at && t.n < u.n }

// after sets a timer.
func (e *engine) after(d time.Duration, do func()) {
	e.count++
	e.timers = append(e.timers, timer{e.now + d, e.count, do})
	for i := len(e.timers) - 1; i > 0; {
		parent := (i - 1) / 2
		if !e.timers[i].before(e.timers[parent]) {
			break
		}
		e.timers[i], e.timers[parent] = e.timers[parent], e.timers[i]
		i = parent
	}
}

func (e *engine) popTimer() timer {
	top, last := e.timers[0], len(e.timers)-1
	e.timers[0] = e.timers[last]
	e.timers[last] = timer{}
	e.timers = e.timers[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && e.timers[child+1].before(e.timers[child]) {
			child++
		}
		if !e.timers[child].before(e.timers[i]) {
			return top
		}
		e.timers[i], e.timers[child] = e.timers[child], e.timers[i]
		i = child
	}
}

// never is later than everything.
const never = time.Duration(1<<63 - 1)

// step does what comes next, if it comes before the deadline, and tells whether
// it did.
func (e *engine) step(deadline time.Duration) bool {
	next, at := -1, never
	if len(e.timers) > 0 {
		at = e.timers[0].at
	}
	acks := false
	for i, p := range e.paths {
		if t := p.toClient.when(); t < at {
			next, at, acks = i, t, false
		}
		if t := p.toServer.when(); t < at {
			next, at, acks = i, t, true
		}
	}
	if at > deadline || at == never {
		return false
	}
	e.now = at
	switch {
	case next < 0:
		e.popTimer().do()
	case acks:
		p := e.paths[next].toServer.pop()
		p.flow.acknowledged(p)
	default:
		path := e.paths[next]
		p := path.toClient.pop()
		if !p.flow.foreign {
			path.received += uint64(p.size)
		}
		p.flow.arrived(p)
	}
	return true
}

// run goes on until done or the deadline.
func (e *engine) run(deadline time.Duration, done func() bool) {
	for !done() && e.step(deadline) {
	}
}

// idle lets time pass until nothing but the given time ends it.
func (e *engine) idle(d time.Duration) {
	deadline := e.now + d
	e.run(deadline, func() bool { return false })
	e.now = deadline
}

// packet is a segment on its way to the client, or its acknowledgement back.
type packet struct {
	at    time.Duration // of arrival
	sent  time.Duration // by the server
	flow  *flow
	order int32 // number of the transmission among those of its flow
	size  int32
	kind  kind
}

type kind uint8

const (
	data   kind = iota
	synAck      // and whatever else a handshake has
)

// line is a queue of packets in order of arrival.
type line struct {
	items []packet // a ring, a power of two long
	first int
	n     int
}

func (l *line) when() time.Duration {
	if l.n == 0 {
		return never
	}
	return l.items[l.first].at
}

func (l *line) push(p packet) {
	if l.n == len(l.items) {
		items := make([]packet, max(64, 2*l.n))
		copy(items, slices.Concat(l.items[l.first:], l.items[:l.first]))
		l.items, l.first = items, 0
	}
	l.items[(l.first+l.n)&(len(l.items)-1)] = p
	l.n++
}

func (l *line) pop() packet {
	p := l.items[l.first]
	l.items[l.first].flow = nil
	l.first = (l.first + 1) & (len(l.items) - 1)
	l.n--
	return p
}
