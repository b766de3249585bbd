package simulate

import (
	"testing"
	"time"
)

// A file comes over both paths at once. It takes at most a little longer than over the
// better path alone.
func TestSplit(t *testing.T) {
	const size = 20_000_000
	for _, tt := range []struct {
		pair  Pair
		least float64 // of the better path's rate
	}{
		{PairOf(20, 20, 20, 20), 1.7}, {PairOf(6, 50, 5, 50), 1.5}, {PairOf(2, 10, 20, 100), 1.05},
		// With long round trips, a pause between two responses would cost more than a
		// slow path brings.
		{PairOf(0.5, 10, 50, 200), 0.98}, {PairOf(50, 10, 0.5, 200), 0.98},
	} {
		for _, inOrder := range []bool{false, true} {
			alone := min(host(t, Net(1), true, tt.pair[0]).Fetch(size), host(t, Net(1), true, tt.pair[1]).Fetch(size))
			took := host(t, Net(1), true, tt.pair[:]...).Split(size, inOrder)
			if ratio := alone.Seconds() / took.Seconds(); ratio < tt.least-0.005 { // figures have two digits
				t.Errorf("%v, in order %v: %v, the better path alone %v: %.3f, want %.2f", tt.pair, inOrder, took, alone, ratio, tt.least)
			} else {
				t.Logf("%v, in order %v: %v, alone %v: %.3f", tt.pair, inOrder, took, alone, ratio)
			}
		}
	}
}

// When a path dies, only what was under way on it is lost.
func TestSplitThroughDeath(t *testing.T) {
	const size = 20_000_000
	pair := PairOf(20, 20, 20, 20)
	alone := host(t, Net(1), true, pair[0]).Fetch(size)
	for dead := range pair {
		h := host(t, Net(1), true, pair[:]...)
		h.After(2*time.Second, func() { h.Set(dead, Path{Mbps: 0, RTT: 20 * ms}) })
		if took := h.Split(size, true); took > alone {
			t.Errorf("path %d died: %v, one path alone %v", dead+1, took, alone)
		}
	}
}
