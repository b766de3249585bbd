package testbed

import (
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
