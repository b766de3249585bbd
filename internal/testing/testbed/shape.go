package testbed

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// BitRate is a rate in bits per second. Whole IP packets count.
type BitRate float64

// Mbit is a million bits per second.
const Mbit BitRate = 1e6

// Shape describes what one direction of an emulated link does to packets. The zero
// value passes packets on at once.
type Shape struct {
	Rate  BitRate       // zero: no limit
	Delay time.Duration // one way, after the queue
	// Queue is how many bytes may wait for the link or be on their way onto it. A
	// packet that does not fit is dropped. 0 means what the link carries in 100 ms, but
	// at least 32 KiB.
	Queue int
	// Loss is the probability, from 0 to 1, that a packet is lost after the queue.
	Loss float64
	// Jitter is the most by which a packet's delay differs from Delay, which must be as
	// long at least: each packet has a delay of its own between Delay-Jitter and
	// Delay+Jitter, any of them as likely as another. No packet overtakes another one: one
	// whose delay would end earlier comes together with the one before it. tc-netem(8)
	// without a rate would let it overtake. Delays follow from Seed of the link.
	Jitter time.Duration
}

func (s Shape) check() error {
	if s.Rate < 0 || s.Delay < 0 || s.Queue < 0 || !(s.Loss >= 0 && s.Loss <= 1) || s.Jitter < 0 || s.Jitter > s.Delay {
		return fmt.Errorf("shape %+v: out of range", s)
	}
	return nil
}

// transmission returns how long the link takes to send a packet of this size.
func (s Shape) transmission(size int) time.Duration {
	if s.Rate == 0 {
		return 0
	}
	return time.Duration(float64(size) * 8 / float64(s.Rate) * float64(time.Second))
}

func (s Shape) limit() int {
	if s.Queue > 0 {
		return s.Queue
	}
	return max(32<<10, int(float64(s.Rate)/8/10))
}

// maxFlying limits the bytes on an emulated link, whatever its rate and delay are.
const maxFlying = 64 << 20

// Counts are the numbers of packets of one direction of an emulated link so far.
type Counts struct {
	Packets, Bytes uint64 // that arrived at the link
	Delivered      uint64 // packets
	Dropped        uint64 // packets that did not fit the queue
	Lost           uint64 // packets lost by chance
}

// shaper is a queue, a link and a delay in virtual time. Callers tell it the time, so
// that tests need not wait.
type shaper struct {
	shape  Shape
	random *rand.Rand
	counts Counts

	flying  []flight // in order of arrival
	onWire  int      // how many of them, the first ones, have left the queue
	waiting int      // bytes of those in the queue
	bytes   int      // bytes of all
}

// flight is a packet between its arrival at the link and its delivery.
type flight struct {
	packet       []byte
	transmission time.Duration
	finish       time.Time // when its last bit is sent
	deliver      time.Time
	lost         bool
	luck         float64 // of its delay, from -1 to 1
}

// arrive takes a packet, which nobody may change afterwards.
func (s *shaper) arrive(now time.Time, packet []byte) {
	s.advance(now)
	s.counts.Packets++
	s.counts.Bytes += uint64(len(packet))
	if s.shape.Rate > 0 && s.waiting+len(packet) > s.shape.limit() || s.bytes+len(packet) > maxFlying {
		s.counts.Dropped++
		return
	}
	f := flight{packet: packet, lost: s.shape.Loss > 0 && s.random.Float64() < s.shape.Loss}
	if s.shape.Jitter > 0 {
		f.luck = 2*s.random.Float64() - 1
	}
	s.flying = append(s.flying, f)
	s.schedule(len(s.flying)-1, now)
	s.waiting += len(packet)
	s.bytes += len(packet)
}

// schedule sets the times of packet i from those of the packet before it.
func (s *shaper) schedule(i int, now time.Time) {
	f := &s.flying[i]
	f.transmission = s.shape.transmission(len(f.packet))
	start := now
	if i > 0 {
		start = later(start, s.flying[i-1].finish)
	}
	f.finish = start.Add(f.transmission)
	f.deliver = f.finish.Add(s.shape.Delay + time.Duration(f.luck*float64(s.shape.Jitter)))
	if i > 0 {
		f.deliver = later(f.deliver, s.flying[i-1].deliver) // no packet overtakes another one, even if the delay shrinks
	}
}

// advance notes which packets have left the queue.
func (s *shaper) advance(now time.Time) {
	for s.onWire < len(s.flying) && !s.flying[s.onWire].finish.After(now) {
		s.waiting -= len(s.flying[s.onWire].packet)
		s.onWire++
	}
}

// next returns when the next packet is to be delivered.
func (s *shaper) next() (time.Time, bool) {
	if len(s.flying) == 0 {
		return time.Time{}, false
	}
	return s.flying[0].deliver, true
}

// deliver returns the next packet if its time has come. nil with true means that the
// packet was lost.
func (s *shaper) deliver(now time.Time) ([]byte, bool) {
	if len(s.flying) == 0 || s.flying[0].deliver.After(now) {
		return nil, false
	}
	s.advance(now)
	f := s.flying[0]
	s.flying[0] = flight{}
	s.flying = s.flying[1:]
	s.onWire--
	s.bytes -= len(f.packet)
	if f.lost {
		s.counts.Lost++
		return nil, true
	}
	s.counts.Delivered++
	return f.packet, true
}

// set changes the shape. Packets that have left the queue are not affected. The others,
// and the rest of the packet that is being sent, go at the new rate.
func (s *shaper) set(now time.Time, shape Shape) {
	s.advance(now)
	s.shape = shape
	for i := s.onWire; i < len(s.flying); i++ {
		f := &s.flying[i]
		rest, whole := f.finish.Sub(now), f.transmission
		s.schedule(i, now)
		if i == s.onWire && rest < whole {
			saved := time.Duration(float64(f.transmission) * (1 - float64(rest)/float64(whole)))
			f.finish = f.finish.Add(-saved)
			f.deliver = f.deliver.Add(-saved)
			if i > 0 {
				f.deliver = later(f.deliver, s.flying[i-1].deliver)
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
