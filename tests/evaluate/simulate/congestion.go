package simulate

import (
	"math"
	"time"
)

// The constants of Linux's CUBIC with HyStart (net/ipv4/tcp_cubic.c; RFC 9438).
const (
	beta            = 717.0 / 1024
	scaling         = 0.4 // segments per second cubed
	hystartLow      = 16
	hystartSamples  = 8
	hystartDelayMin = 4 * time.Millisecond
	hystartDelayMax = 16 * time.Millisecond
	hystartTrain    = 2 * time.Millisecond
	minGrowth       = 20 // acknowledgements per segment, at least, before the first loss
)

// congestion is the window of a flow, in segments.
type congestion struct {
	size      float64
	threshold float64 // of slow start
	maxOut    int     // most segments on their way in this round
	roundEnd  int32

	// HyStart
	minRTT     time.Duration
	roundRTT   time.Duration
	samples    int
	roundStart time.Duration
	lastTrain  time.Duration

	// CUBIC
	epoch  time.Duration // 0: none
	origin float64
	k      float64 // seconds
	before float64 // window at the last loss, 0: none yet
	reno   float64
}

func newCongestion() congestion {
	return congestion{size: initialWindow, threshold: math.Inf(1), minRTT: never}
}

// full tells whether the window limits what is sent, as Linux sees it: in slow
// start, more than half of it is enough.
func (c *congestion) full(out int) bool {
	c.maxOut = max(c.maxOut, out)
	if c.size < c.threshold {
		return c.size < float64(2*c.maxOut)
	}
	return c.maxOut >= int(c.size)
}

// grow takes an acknowledgement outside of recovery.
func (c *congestion) grow(now, rtt time.Duration, order, next int32, full bool) {
	c.minRTT = min(c.minRTT, rtt)
	if order >= c.roundEnd {
		c.roundEnd = next
		c.roundRTT, c.samples = never, 0
		c.roundStart, c.lastTrain = now, now
		c.maxOut = 0
	}
	if c.size < c.threshold {
		c.hystart(now, rtt)
		if full {
			c.size++
		}
		return
	}
	if !full {
		c.epoch = 0
		return
	}
	c.size += 1 / c.cubic(now)
}

// hystart ends slow start when the round trips become longer, or the
// acknowledgements of a round as long as half a round trip.
func (c *congestion) hystart(now, rtt time.Duration) {
	if c.size < hystartLow {
		return
	}
	if now-c.lastTrain <= hystartTrain {
		c.lastTrain = now
		if now-c.roundStart > c.minRTT/2 {
			c.threshold = c.size
		}
	}
	if c.samples < hystartSamples {
		c.roundRTT = min(c.roundRTT, rtt)
		c.samples++
	}
	if c.samples == hystartSamples && c.roundRTT > c.minRTT+min(max(c.minRTT/8, hystartDelayMin), hystartDelayMax) {
		c.threshold = c.size
	}
}

// cubic returns the number of acknowledgements for the next segment.
func (c *congestion) cubic(now time.Duration) float64 {
	if c.epoch == 0 {
		c.epoch = now
		c.reno = c.size
		c.k, c.origin = 0, c.size
		if c.before > c.size {
			c.k, c.origin = math.Cbrt((c.before-c.size)/scaling), c.before
		}
	}
	t := (now - c.epoch + c.minRTT).Seconds() - c.k
	target := c.origin + scaling*t*t*t
	acks := 100 * c.size
	if target > c.size {
		acks = c.size / (target - c.size)
	}
	if c.before == 0 {
		acks = min(acks, minGrowth)
	}
	// As fast as Reno would be (RFC 9438 section 4.3).
	c.reno += 3 * (1 - beta) / (1 + beta) / c.size
	if c.reno > c.size {
		acks = min(acks, c.size/(c.reno-c.size))
	}
	return max(acks, 2)
}

// reduce answers a loss.
func (c *congestion) reduce() {
	c.before = c.size
	c.size = max(2, c.size*beta)
	c.threshold = c.size
	c.epoch = 0
}

// collapse answers a timeout.
func (c *congestion) collapse() {
	c.before = c.size
	c.threshold = max(2, c.size*beta)
	c.size = 1
	c.epoch = 0
}

// restart halves the window for every timeout that nothing was sent, down to the
// initial one (RFC 5681 section 4.1, as Linux does it).
func (c *congestion) restart(idle, timeout time.Duration) {
	if idle <= timeout {
		return
	}
	c.threshold = max(c.threshold, 0.75*c.size)
	for ; idle > timeout && c.size > initialWindow; idle -= timeout {
		c.size = max(initialWindow, c.size/2)
	}
	c.epoch = 0
}
