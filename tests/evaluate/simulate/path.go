package simulate

import "time"

// Path describes a path: an access link and the way to the servers behind it.
type Path struct {
	Mbps float64       // to the client
	RTT  time.Duration // without queueing; half of it in each direction
	// Queue is how long the longest queue takes to send; 0: 150 ms.
	Queue time.Duration
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

// path is a link in action: a drop-tail queue, the link, a delay.
type path struct {
	engine   *engine
	rate     float64       // bytes per nanosecond
	delay    time.Duration // one way
	limit    time.Duration // how long the queue may become
	busy     time.Duration // when the last packet of the queue is sent
	toClient line
	toServer line
	received uint64 // bytes by the client
	dropped  int
}

func newPath(e *engine, c Path) *path {
	p := &path{engine: e, delay: c.RTT / 2}
	p.set(c)
	return p
}

// set changes rate and queue for the packets that come.
func (p *path) set(c Path) {
	p.rate = c.Mbps * 1e6 / 8 / 1e9
	p.limit = c.Queue
	if p.limit == 0 {
		p.limit = defaultQueue
	}
}

// rtt is what a small packet would need now, there and back.
func (p *path) rtt() time.Duration { return 2*p.delay + max(0, p.busy-p.engine.now) }

// send sends a packet to the client; false if the queue has no room for it.
func (p *path) send(k packet) bool {
	now := p.engine.now
	start := max(now, p.busy)
	transmission := time.Duration(float64(k.size) / p.rate)
	if start-now+transmission > p.limit {
		p.dropped++
		return false
	}
	p.busy = start + transmission
	k.sent, k.at = now, p.busy+p.delay
	p.toClient.push(k)
	return true
}

// acknowledge sends the acknowledgement of a packet back.
func (p *path) acknowledge(k packet) {
	k.at = p.engine.now + p.delay
	p.toServer.push(k)
}
