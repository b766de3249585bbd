package simulate

import (
	"slices"
	"time"
)

const (
	// initialWindow is RFC 6928's, in segments.
	initialWindow = 10
	// synTimeout is the first retransmission timeout (RFC 6298 section 2.1).
	synTimeout = time.Second
	// minRTO is Linux's.
	minRTO = 200 * time.Millisecond
)

// flow is one TCP connection, or one subflow of an MPTCP one, seen from the
// server, which sends, and with the round-trip time that the client measures.
type flow struct {
	conn *conn
	path *path
	open bool
	gone bool // closed by the client
	// foreign tells that the client is another host behind the same link.
	foreign bool
	loser   bool // another one of the same race was there first
	began   time.Duration
	shook   time.Duration // how long the first round trip of the handshake took
	least   time.Duration // the least round-trip time that the client saw; 0: none

	window congestion
	out    int     // segments on their way, those dropped included
	next   int32   // number of the next transmission
	lost   []int32 // transmissions that the queue dropped, not yet noticed, ascending
	resend int     // noticed
	// recovery ends with the acknowledgement of this transmission.
	recovery int32
	backoff  int // timeouts in a row
	timing   bool
	lastSend time.Duration

	rtt rttEstimate // the server's
	// client is what the client measures: with handshake and requests only.
	client rttEstimate
}

// rttEstimate is RFC 6298's, without its clock granularity.
type rttEstimate struct{ srtt, variation time.Duration }

func (r *rttEstimate) add(t time.Duration) {
	if r.srtt == 0 {
		r.srtt, r.variation = t, t/2
		return
	}
	r.variation += (max(t-r.srtt, r.srtt-t) - r.variation) / 4
	r.srtt += (t - r.srtt) / 8
}

func (r *rttEstimate) timeout() time.Duration { return r.srtt + max(minRTO, 4*r.variation) }

// connect opens the flow; the handshake takes the given number of round trips.
func (f *flow) connect(rounds int) {
	if f.began == 0 {
		f.began = f.path.engine.now
	}
	f.path.engine.after(f.path.delay, func() { f.greet(rounds, 0) })
}

// maxGreetings is how often a server sends an answer to a SYN, as Linux does
// (net.ipv4.tcp_synack_retries), before the connection counts as failed.
const maxGreetings = 6

// greet is the server's part of a round of the handshake.
func (f *flow) greet(rounds, tries int) {
	if f.gone {
		return
	}
	switch {
	case f.path.send(packet{flow: f, kind: synAck, size: handshake, order: int32(rounds)}):
	case tries+1 < maxGreetings:
		f.path.engine.after(synTimeout<<tries, func() { f.greet(rounds, tries+1) })
	default:
		f.gone = true
		f.conn.failed(f)
	}
}

// arrived is the client's part for a packet.
func (f *flow) arrived(p packet) {
	if f.gone {
		return
	}
	if p.kind == synAck {
		rtt := f.path.engine.now - p.sent + f.path.delay
		f.client.add(rtt)
		if f.least == 0 || rtt < f.least {
			f.least = rtt
		}
		if f.shook == 0 {
			f.shook = f.path.engine.now - f.began
			if f.conn.shaken != nil {
				f.conn.shaken(f)
			}
		}
		if f.loser {
			f.gone = true
			return
		}
		if p.order > 1 {
			f.connect(int(p.order) - 1)
			return
		}
		f.open = true
		f.rtt.add(2 * f.path.delay)
		f.window = newCongestion()
		f.conn.opened(f)
		return
	}
	f.path.acknowledge(p)
	f.conn.received(f)
}

// acknowledged is the server's part for the acknowledgement of a segment.
func (f *flow) acknowledged(p packet) {
	if f.gone {
		return
	}
	now := f.path.engine.now
	full := f.window.full(f.out)
	f.out--
	f.backoff = 0
	rtt := now - p.sent
	f.rtt.add(rtt)
	for len(f.lost) > 0 && f.lost[0] < p.order {
		if f.lost[0] >= f.recovery {
			f.window.reduce()
			f.recovery = f.next
		}
		f.lost = slices.Delete(f.lost, 0, 1)
		f.out--
		f.resend++
	}
	if p.order >= f.recovery {
		f.window.grow(now, rtt, p.order, f.next, full)
	}
	f.fill()
}

// fill sends what the window allows.
func (f *flow) fill() {
	if !f.open || f.gone {
		return
	}
	now := f.path.engine.now
	if f.out == 0 && f.lastSend > 0 {
		f.window.restart(now-f.lastSend, f.rtt.timeout())
	}
	for f.out < int(f.window.size) {
		if f.resend > 0 {
			f.resend--
			f.transmit(mtu)
			continue
		}
		size := f.conn.take()
		if size == 0 {
			return
		}
		f.transmit(size)
	}
}

func (f *flow) transmit(size int32) {
	p := packet{flow: f, order: f.next, size: size}
	f.next++
	f.out++
	f.lastSend = f.path.engine.now
	if !f.path.send(p) {
		f.lost = append(f.lost, p.order)
		f.watch()
	}
}

// watch sets the timer that notices losses at the end of a transfer: a tail loss
// probe after two round trips (RFC 8985 section 7), then retransmission timeouts.
// If nothing is lost, no timer is needed.
func (f *flow) watch() {
	if f.timing {
		return
	}
	f.timing = true
	f.path.engine.after(f.patience(), f.check)
}

func (f *flow) patience() time.Duration {
	if f.backoff == 0 {
		return 2*f.rtt.srtt + 2*time.Millisecond
	}
	return f.rtt.timeout() << min(f.backoff-1, 6)
}

func (f *flow) check() {
	f.timing = false
	if f.gone || len(f.lost) == 0 {
		return
	}
	if wait := f.lastSend + f.patience() - f.path.engine.now; wait > 0 || f.out > len(f.lost) {
		f.timing = true
		f.path.engine.after(max(wait, time.Millisecond), f.check)
		return
	}
	f.backoff++
	if f.backoff == 1 { // the probe is the last segment
		f.lost = f.lost[:len(f.lost)-1]
		f.out--
		f.transmit(mtu)
		f.watch()
		return
	}
	f.window.collapse()
	f.out -= len(f.lost)
	f.resend += len(f.lost)
	f.lost = f.lost[:0]
	f.recovery = f.next
	f.fill()
}
