package testbed

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestShaper sends packets of 1250 bytes, which take 10 ms at 1 Mbit/s, in virtual
// time.
func TestShaper(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	start := time.Unix(1000, 0)
	type change struct {
		at    int // ms
		shape Shape
	}
	for _, tt := range []struct {
		name     string
		shape    Shape
		arrivals []int // ms
		change   *change
		want     []int // deliveries, ms
		counts   Counts
	}{
		{"unlimited", Shape{}, []int{0, 0, 5}, nil, []int{0, 0, 5}, Counts{3, 3750, 3, 0, 0}},
		{"delay", Shape{Delay: 50 * ms}, []int{0, 0, 5}, nil, []int{50, 50, 55}, Counts{3, 3750, 3, 0, 0}},
		{"rate", Shape{Rate: Mbit}, []int{0, 0, 5, 100}, nil, []int{10, 20, 30, 110}, Counts{4, 5000, 4, 0, 0}},
		{"rate and delay", Shape{Rate: Mbit, Delay: 50 * ms}, []int{0, 0, 5}, nil, []int{60, 70, 80}, Counts{3, 3750, 3, 0, 0}},
		{"full queue", Shape{Rate: Mbit, Queue: 2500}, []int{0, 0, 0, 9, 10, 11}, nil, []int{10, 20, 30}, Counts{6, 7500, 3, 3, 0}},
		{"the wire does not fill the queue", Shape{Rate: Mbit, Queue: 2500, Delay: time.Second}, []int{0, 10, 20, 30}, nil, []int{1010, 1020, 1030, 1040}, Counts{4, 5000, 4, 0, 0}},
		{"all lost", Shape{Loss: 1}, []int{0, 1}, nil, nil, Counts{2, 2500, 0, 0, 2}},
		{"faster", Shape{Rate: Mbit}, []int{0, 0, 0}, &change{5, Shape{Rate: 10 * Mbit}}, []int{5, 6, 7}, Counts{3, 3750, 3, 0, 0}},
		{"slower", Shape{Rate: Mbit}, []int{0, 0}, &change{5, Shape{Rate: Mbit / 2}}, []int{15, 35}, Counts{2, 2500, 2, 0, 0}},
		{"unlimited later", Shape{Rate: Mbit}, []int{0, 0}, &change{5, Shape{}}, []int{5, 5}, Counts{2, 2500, 2, 0, 0}},
		{"no overtaking when the delay shrinks", Shape{Delay: 100 * ms}, []int{0, 20}, &change{10, Shape{Delay: ms}}, []int{100, 100}, Counts{2, 2500, 2, 0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shaper{shape: tt.shape, random: rand.New(rand.NewPCG(1, 1))}
			var got []int
			// The clock's steps are as small as the differences between deliveries.
			for tick := range 20000 {
				now := start.Add(time.Duration(tick) * ms / 10)
				for {
					p, ok := s.deliver(now)
					if !ok {
						break
					}
					if p != nil {
						got = append(got, tick/10)
					}
				}
				if tick%10 != 0 {
					continue
				}
				if tt.change != nil && tt.change.at == tick/10 {
					s.set(now, tt.change.shape)
				}
				for _, at := range tt.arrivals {
					if at == tick/10 {
						s.arrive(now, make([]byte, 1250))
					}
				}
				for p, ok := s.deliver(now); ok; p, ok = s.deliver(now) {
					if p != nil {
						got = append(got, tick/10)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("deliveries in ms:\n%s", diff)
			}
			if diff := cmp.Diff(tt.counts, s.counts); diff != "" {
				t.Errorf("counts:\n%s", diff)
			}
			if s.waiting != 0 || s.bytes != 0 || s.onWire != 0 {
				t.Errorf("left over: waiting %d, bytes %d, on the wire %d", s.waiting, s.bytes, s.onWire)
			}
		})
	}
}

// Delays vary evenly within the jitter, the same for the same seed, and packets stay in
// order.
func TestShaperJitter(t *testing.T) {
	t.Parallel()
	const (
		ms    = time.Millisecond
		every = 20 * ms // so that few packets catch up with the one before
		count = 2000
	)
	start := time.Unix(1000, 0)
	play := func(seed uint64, shape Shape, every time.Duration) (delays []time.Duration) {
		s := &shaper{shape: shape, random: rand.New(rand.NewPCG(seed, 0))}
		for i := range count {
			s.arrive(start.Add(time.Duration(i)*every), []byte{byte(i), byte(i >> 8)})
		}
		for {
			at, ok := s.next()
			if !ok {
				return delays
			}
			p, ok := s.deliver(at)
			i := len(delays)
			if !ok || int(p[0])|int(p[1])<<8 != i {
				t.Fatalf("packet %v comes as number %d", p, i)
			}
			delays = append(delays, at.Sub(start.Add(time.Duration(i)*every)))
		}
	}
	shape := Shape{Delay: 50 * ms, Jitter: 10 * ms}
	first := play(1, shape, every)
	if diff := cmp.Diff(first, play(1, shape, every)); diff != "" {
		t.Errorf("the same seed gives other delays:\n%s", diff)
	}
	if cmp.Equal(first, play(2, shape, every)) {
		t.Error("another seed gives the same delays")
	}
	var sum time.Duration
	var tenths [10]int
	for _, d := range first {
		if d < 40*ms || d > 60*ms {
			t.Fatalf("a delay of %v", d)
		}
		sum += d
		tenths[min(9, (d-40*ms)/(2*ms))]++
	}
	if mean := sum / count; mean < 49*ms || mean > 51*ms {
		t.Errorf("the mean delay is %v", mean)
	}
	for i, n := range tenths {
		if n < count/20 || n > count/5 {
			t.Errorf("%d of %d delays are in tenth %d", n, count, i)
		}
	}
	// Packets that follow each other faster than the delay varies wait for the one before.
	for i, d := range play(1, shape, ms) {
		if d < 40*ms || d > 60*ms {
			t.Fatalf("packet %d has a delay of %v", i, d)
		}
	}
	if cmp.Equal(play(1, Shape{Delay: 50 * ms}, every), first) {
		t.Error("delays vary without jitter")
	}
	for _, bad := range []Shape{{Jitter: ms}, {Delay: ms, Jitter: -ms}, {Delay: ms, Jitter: 2 * ms}, {Loss: math.NaN()}} {
		if bad.check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
