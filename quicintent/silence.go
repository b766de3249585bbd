package quicintent

import (
	"net"
	"sync"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/socket-intents/mamma/client"
)

const (
	// ackDelay is for how long a receiver may put off an acknowledgement (RFC 9000, section
	// 18.2, default of max_ack_delay). After so long without a packet there is nothing to
	// be acknowledged any more: every packet sent then is one that asks for an answer.
	ackDelay = 25 * time.Millisecond
	// leastOwed is for how long an answer may be owed, at least: schedulers and Wi-Fi take
	// a few tens of milliseconds now and then.
	leastOwed = 60 * time.Millisecond
	// unknownRTT is assumed until there is a measurement (RFC 9002, section 6.2.2).
	unknownRTT = 333 * time.Millisecond

	// A flow is steady when so many reads have each followed the one before within so long.
	steadyReads = 8
	steadyGap   = 100 * time.Millisecond
	// leastGap is for how long a steady flow may stop, at least. An application may stop it
	// as well as a network.
	leastGap = 150 * time.Millisecond
)

// socket is the socket of a path. It notes when packets come, and when something was sent
// that ought to be answered. It embeds what quic-go looks for, so that segmentation
// offload, ECN and path MTU discovery go on working.
type socket struct {
	*client.PacketConn
	batch   *ipv4.PacketConn
	silence *silence
}

func newSocket(pc *client.PacketConn) *socket {
	return &socket{PacketConn: pc, batch: ipv4.NewPacketConn(pc), silence: newSilence(time.Now())}
}

// ReadBatch is how quic-go receives.
func (s *socket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := s.batch.ReadBatch(ms, flags)
	if n > 0 {
		s.silence.received(time.Now())
	}
	return n, err
}

// WriteMsgUDP is how quic-go sends.
func (s *socket) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	s.silence.sent(time.Now())
	return s.PacketConn.WriteMsgUDP(b, oob, to)
}

// silence tells when a network is in doubt because nothing comes over it. It is safe for
// concurrent use.
type silence struct {
	// wake has a value when there is a time again at which it may be in doubt.
	wake chan struct{}

	mu      sync.Mutex
	heard   time.Time     // when the last packet came
	asked   time.Time     // when the first packet since was sent that ought to be answered; zero: none
	reads   int           // that have followed each other within steadyGap
	longest time.Duration // between two of them
}

func newSilence(now time.Time) *silence { return &silence{wake: make(chan struct{}, 1), heard: now} }

// sent notes that a packet is sent.
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
		s.reads, s.longest = 0, 0
	}
	if s.reads++; s.reads > 1 {
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

// doubt is what silence tells.
type doubt struct {
	at   time.Time     // when the network is in doubt if nothing comes until then; zero: never
	mute time.Duration // since the last packet came
	// certain tells that an answer is owed, rather than that a flow has stopped.
	certain bool
}

// doubt tells when the network is in doubt, at a round-trip time, 0 if that is unknown.
func (s *silence) doubt(now time.Time, rtt time.Duration) doubt {
	if rtt <= 0 {
		rtt = unknownRTT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := doubt{mute: now.Sub(s.heard)}
	if s.reads >= steadyReads {
		d.at = s.heard.Add(max(leastGap, 3*rtt+ackDelay, 4*s.longest))
	}
	if !s.asked.IsZero() {
		if owed := s.asked.Add(max(leastOwed, 2*rtt+ackDelay)); d.at.IsZero() || owed.Before(d.at) {
			d.at, d.certain = owed, true
		}
	}
	return d
}

// forgive takes a flow that has stopped for one that is over.
func (s *silence) forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.longest = 0, 0
}
