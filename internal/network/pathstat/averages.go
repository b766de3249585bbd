package pathstat

import (
	"time"

	"github.com/socket-intents/mamma/policy"
)

// windows are the windows of doc/original/measurement.md 1 for the moving average. The
// first one is also the length of the average itself. The original's last window is one
// tick shorter than the history.
var windows = [...]time.Duration{time.Second, 10 * time.Second, time.Minute, History}

// averages is the history of a rate's moving average. Before the first sample
// everything counts as 0 (doc/original/measurement.md 5.1).
type averages struct {
	rates   []float64 // the newest rates, one for each slot of the shortest window
	slot    int64     // number of rates so far
	current float64
	length  [len(windows)]int64
	max     [len(windows)]sliding
	min     [len(windows) - 1]sliding
	low     [len(windows) - 1]*decile
}

func newAverages(interval time.Duration) averages {
	var a averages
	for i, w := range windows {
		a.length[i] = max(1, int64(w/interval))
		a.max[i].max = true
	}
	for i := range a.low {
		a.low[i] = newDecile(int(a.length[i]))
	}
	a.rates = make([]float64, a.length[0])
	return a
}

// push adds the rate of the next slot.
func (a *averages) push(rate float64) {
	a.rates[a.slot%a.length[0]] = rate
	a.slot++
	// The sum is computed again. That costs ten additions, and unlike a running sum of
	// floating-point numbers it never drifts away from 0.
	sum := 0.0
	for _, r := range a.rates {
		sum += r
	}
	a.current = sum / float64(len(a.rates))
	for i := range a.max {
		a.max[i].push(a.slot, a.current)
		a.max[i].expire(a.slot - a.length[i] + 1)
	}
	for i := range a.min {
		a.min[i].push(a.slot, a.current)
		a.min[i].expire(a.slot - a.length[i] + 1)
		a.low[i].replace(int(a.slot%a.length[i]), a.current)
	}
}

// minimum returns 0 until the window is full, because of the zeros before the first
// sample.
func (a *averages) minimum(i int) policy.BytesPerSecond {
	if a.slot < a.length[i] {
		return 0
	}
	return policy.BytesPerSecond(a.min[i].value())
}

func (a *averages) maximum(i int) policy.BytesPerSecond {
	return policy.BytesPerSecond(a.max[i].value())
}

func (a *averages) quantile(i int) policy.BytesPerSecond {
	return policy.BytesPerSecond(a.low[i].quantile())
}

func (a *averages) fill(s *policy.LinkStats) {
	s.DownSMA = policy.BytesPerSecond(a.current)
	s.DownSMAMax = policy.Windowed{Short: a.maximum(0), Mid: a.maximum(1), Long: a.maximum(2), VeryLong: a.maximum(3)}
	s.DownSMAMin = policy.Windowed{Short: a.minimum(0), Mid: a.minimum(1), Long: a.minimum(2)}
	s.DownSMAQuantile = policy.Windowed{Short: a.quantile(0), Mid: a.quantile(1), Long: a.quantile(2)}
}

func (a *averages) reset() {
	clear(a.rates)
	a.slot, a.current = 0, 0
	for i := range a.max {
		a.max[i].reset()
	}
	for i := range a.min {
		a.min[i].reset()
		a.low[i].reset()
	}
}
