package simulate

import (
	"math/rand/v2"
	"time"
)

// Path describes a path: an access link and the way to the servers behind it.
type Path struct {
	Mbps float64       // to the client
	RTT  time.Duration // without queueing; half of it in each direction
	// Queue is how long the longest queue takes to send; 0: 150 ms.
	Queue time.Duration
	// Loss is the share of packets to the client that are lost on the way, 0 to 1.
	Loss float64
	// Behind is the number of an earlier path, the first is 1, whose link this one
	// shares: rate, queue and loss are those of the other one. 0: it has its own.
	Behind int
}

// defaultQueue is that of doc/original/evaluation.md, "Common rules".
const defaultQueue = 150 * time.Millisecond

const (
	segment   = 1448 // bytes of data in a full segment
	overhead  = 52   // of the headers of a segment
	mtu       = segment + overhead
	handshake = 60  // size of a SYN-ACK
	header    = 200 // of an HTTP response
)

// path is a way to the servers: a link, perhaps shared, and a delay.
type path struct {
	*link
	engine   *engine
	delay    time.Duration // one way
	toClient line
	toServer line
	received uint64 // bytes by the client, without what is for other hosts
}

// link is a drop-tail queue and what sends from it.
type link struct {
	rate    float64       // bytes per nanosecond
	limit   time.Duration // how long the queue may become
	busy    time.Duration // when the last packet of the queue is sent
	loss    float64
	random  *rand.Rand
	dropped int
}

func newPath(e *engine, c Path, seed uint64) *path {
	p := &path{engine: e, delay: c.RTT / 2}
	if c.Behind > 0 {
		p.link = e.paths[c.Behind-1].link
		return p
	}
	p.link = &link{random: rand.New(rand.NewPCG(seed, uint64(len(e.paths))))}
	p.set(c)
	return p
}

// set changes rate, queue and loss for the packets that come.
func (l *link) set(c Path) {
	l.rate = max(c.Mbps, 1e-3) * 1e6 / 8 / 1e9
	l.loss = c.Loss
	l.limit = c.Queue
	if l.limit == 0 {
		l.limit = defaultQueue
	}
}

// rtt is what a small packet would need now, there and back.
func (p *path) rtt() time.Duration { return 2*p.delay + max(0, p.busy-p.engine.now) }

// enqueue lets the link send a packet, and tells when it has; false if the queue
// has no room for it, or if it is lost behind the queue.
func (l *link) enqueue(now time.Duration, size int32) (sent time.Duration, ok bool) {
	start := max(now, l.busy)
	transmission := time.Duration(float64(size) / l.rate)
	if start-now+transmission > max(l.limit, transmission) {
		l.dropped++
		return 0, false
	}
	l.busy = start + transmission
	if l.loss > 0 && l.random.Float64() < l.loss {
		l.dropped++
		return 0, false
	}
	return l.busy, true
}

// send sends a packet to the client; false if it does not arrive.
func (p *path) send(k packet) bool {
	sent, ok := p.enqueue(p.engine.now, k.size)
	if !ok {
		return false
	}
	k.sent, k.at = p.engine.now, sent+p.delay
	p.toClient.push(k)
	return true
}

// acknowledge sends the acknowledgement of a packet back.
func (p *path) acknowledge(k packet) {
	k.at = p.engine.now + p.delay
	p.toServer.push(k)
}
