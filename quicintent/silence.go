package quicintent

import (
	"net"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/socket-intents/mamma/client"
)

const (
	// ackDelay is how long a receiver may delay an acknowledgement (RFC 9000, section
	// 18.2, default of max_ack_delay). If no packet has come for that long, nothing is
	// left to acknowledge. So every packet that is sent then asks for an answer.
	ackDelay = 25 * time.Millisecond
	// leastOwed is the least time for which an answer may be owed. Schedulers and Wi-Fi
	// now and then take a few tens of milliseconds.
	leastOwed = 60 * time.Millisecond
	// unknownRTT is assumed until the round-trip time is measured (RFC 9002, section
	// 6.2.2).
	unknownRTT = 333 * time.Millisecond

	// A flow is steady after steadyReads reads, each within steadyGap of the one
	// before.
	steadyReads = 8
	steadyGap   = 100 * time.Millisecond
	// recently is for how long the longest gap of a flow counts: at least this long,
	// and at most twice. The limit is there because a moment in which the host was busy
	// must not make every later decision slow.
	recently = time.Second
	// leastGap is the least time for which a steady flow may stop. An application may
	// be the cause as well as a network.
	leastGap = 150 * time.Millisecond
)

// socket is the socket of a path. It notes when packets come, and when a packet is sent
// that should be answered. It embeds the types that quic-go looks for, so that
// segmentation offload, ECN and path MTU discovery still work.
type socket struct {
	*client.PacketConn
	batch   *ipv4.PacketConn
	silence *silence
}

func newSocket(pc *client.PacketConn) *socket {
	return &socket{PacketConn: pc, batch: ipv4.NewPacketConn(pc), silence: newSilence(time.Now())}
}

// ReadBatch is the method by which quic-go receives.
func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := s.batch.ReadBatch(ms, flags)
	if n > 0 {
		s.silence.received(time.Now())
	}
	return n, err
}

// WriteMsgUDP is the method by which quic-go sends.
func (s *socket) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	s.silence.sent(time.Now())
	return s.PacketConn.WriteMsgUDP(b, oob, to)
}

// silence tells when a network is in doubt because nothing comes over it. It is safe
// for concurrent use.
type silence struct {
	// wake gets a value when there is again a time at which the network may be in
	// doubt.
	wake chan struct{}

	mu      sync.Mutex
	heard   time.Time     // when the last packet came
	asked   time.Time     // when the first packet since then was sent that should be answered; zero: none
	reads   int           // number of reads that followed each other within steadyGap
	longest time.Duration // longest time between two of them, since turn
	before  time.Duration // the same, in the time before turn
	turn    time.Time
	busy    time.Duration // in which packets came since begun, with gaps of up to steadyGap
	begun   time.Time     // when the path came into use; zero: not yet
}

func newSilence(now time.Time) *silence { return &silence{wake: make(chan struct{}, 1), heard: now} }

// sent notes that a packet is being sent.
func (s *silence) sent(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.IsZero() && now.Sub(s.heard) >= ackDelay {
		s.asked = now
		s.poke()
	}
}

// received notes that packets have come.
func (s *silence) received(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap := now.Sub(s.heard)
	s.heard, s.asked = now, time.Time{}
	if gap > steadyGap {
		s.reads, s.longest, s.before, s.turn = 0, 0, 0, now
	} else if !s.begun.IsZero() {
		s.busy += min(gap, now.Sub(s.begun))
	}
	if s.reads++; s.reads > 1 {
		if now.Sub(s.turn) >= recently {
			s.longest, s.before, s.turn = 0, s.longest, now
		}
		s.longest = max(s.longest, gap)
	}
	if s.reads == steadyReads {
		s.poke()
	}
}

func (s *silence) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// doubt says when a network is in doubt.
type doubt struct {
	at   time.Time     // the network is in doubt if nothing comes before this time; zero: never
	mute time.Duration // time since the last packet
	// certain tells that an answer is owed. If it is false, a flow has stopped.
	certain bool
}

// roundTrip is what is known of the round-trip times to the other end. The zero value is
// nothing.
type roundTrip struct{ smoothed, deviation time.Duration }

// firstRoundTrip is what a first measurement tells (RFC 9002, section 5.3).
func firstRoundTrip(rtt time.Duration) roundTrip { return roundTrip{rtt, rtt / 2} }

// timeout is the probe timeout (RFC 9002, section 6.2.1). If the other end still has
// something to send, it sends again what was not acknowledged when as much time has passed.
func (r roundTrip) timeout() time.Duration {
	return r.smoothed + max(4*r.deviation, time.Millisecond) + ackDelay
}

// doubt returns when the network is in doubt.
func (s *silence) doubt(now time.Time, rt roundTrip) doubt {
	if rt.smoothed <= 0 {
		rt = firstRoundTrip(unknownRTT)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := doubt{mute: now.Sub(s.heard)}
	if s.reads >= steadyReads {
		d.at = s.heard.Add(max(leastGap, rt.timeout(), 4*max(s.longest, s.before)))
	}
	if !s.asked.IsZero() {
		owed := s.asked.Add(max(leastOwed, 2*rt.smoothed+ackDelay))
		if d.at.IsZero() || owed.Before(d.at) {
			d.at, d.certain = owed, true
		} else if !now.Before(owed) {
			d.certain = true // the flow had stopped before, but by now the answer is due, too
		}
	}
	return d
}

// begin says that the path is in use from now on. The handshake or the probe before is no
// time in which data came.
func (s *silence) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.begun = 0, now
}

// forgive takes a flow that has stopped for one that has ended.
func (s *silence) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.longest, s.before = 0, 0, 0
}

// busyFor is the time in which packets have come since the path came into use.
func (s *silence) busyFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}
