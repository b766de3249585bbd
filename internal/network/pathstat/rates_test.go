package pathstat

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/socket-intents/mamma/policy"
)

// step is a pass in a test of rates.
type step struct {
	after   time.Duration // since the pass before
	planned time.Duration
	rx      uint64
}

func run(steps []step) policy.LinkStats {
	e := NewLinkEstimator(DefaultInterval)
	up := time.Hour
	for _, s := range steps {
		up += s.after
		e.Add(at(up), LinkCounters{RxBytes: s.rx, TxBytes: 1}, s.planned)
	}
	return e.Stats()
}

func TestLinkEstimatorOddPasses(t *testing.T) {
	const tick = 100 * time.Millisecond
	for _, test := range []struct {
		name  string
		steps []step
		want  map[string]float64
	}{
		{"never counted", []step{{0, tick, 0}, {tick, tick, 0}},
			map[string]float64{"download_rate_current": 0, "download_counter": 0}},
		{"backwards begins anew", []step{{0, tick, 5000}, {tick, tick, 6000}, {tick, tick, 100}, {tick, tick, 300}},
			map[string]float64{"download_rate_current": 2000, "download_rate_max_recent": 10000, "download_sma_current": 1200}},
		{"wrap of 32 bits begins anew", []step{{0, tick, math.MaxUint32 - 10}, {tick, tick, 90}},
			map[string]float64{"download_rate_current": 0, "download_rate_max_recent": 0}},
		{"reset to 0", []step{{0, tick, 5000}, {tick, tick, 0}, {tick, tick, 10}},
			map[string]float64{"download_rate_current": 100, "download_rate_max_recent": 100}},
		{"no time passed", []step{{0, tick, 1000}, {0, tick, 9000}, {tick, tick, 2000}},
			map[string]float64{"download_rate_current": 10000, "download_rate_max_recent": 10000}},
		{"time runs back", []step{{0, tick, 1000}, {-tick, tick, 9000}, {2 * tick, tick, 2000}},
			map[string]float64{"download_rate_current": 10000}},
		{"too early is left to the next", []step{{0, tick, 1000}, {tick / 4, tick, 9000}, {tick * 3 / 4, tick, 2000}},
			map[string]float64{"download_rate_current": 10000, "download_rate_max_recent": 10000}},
		{"late: zeros before", []step{{0, tick, 1000}, {5 * tick, tick, 6000}},
			map[string]float64{"download_rate_current": 10000, "download_sma_current": 1000, "download_sma_max": 1000}},
		{"planned: one rate all along", []step{{0, tick, 1000}, {10 * tick, 10 * tick, 11000}},
			map[string]float64{"download_rate_current": 10000, "download_sma_current": 10000, "download_sma_min": 1000}},
		// The rate is 10 kB/s, but nothing is seen while the host stands still.
		{"after a stall", []step{{0, tick, 1000}, {tick, tick, 2000}, {4 * tick, tick, 2000}, {tick, tick, 7000}, {tick, tick, 8000}},
			map[string]float64{"download_rate_current": 10000, "download_rate_max_recent": 10000, "download_counter": 8000}},
		{"faster than before a stall", []step{{0, tick, 1000}, {4 * tick, tick, 2000}, {tick, tick, 12000}, {tick, tick, 22000}},
			map[string]float64{"download_rate_max_recent": 100000}},
		{"longer than the windows", []step{{0, tick, 1000}, {tick, tick, 2000}, {5 * time.Minute, tick, 2300}},
			map[string]float64{
				"download_rate_current": 1, "download_rate_max_recent": 10000,
				"download_sma_max_long": 0.1, "download_sma_max_longlong": 1000, "download_sma_nonzero_10q_long": 0.1,
			}},
		{"longer than the history", []step{{0, tick, 1000}, {tick, tick, 2000}, {8 * time.Hour, tick, 1e12}},
			map[string]float64{
				"download_rate_current": 0, "download_rate_max_recent": 0, "download_sma_current": 0,
				"download_sma_max_longlong": 0, "download_counter": 1e12,
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := linkKeys(run(test.steps))
			for key, want := range test.want {
				if math.Abs(got[key]-want) > 1e-9*want {
					t.Errorf("%s = %v, want %v", key, got[key], want)
				}
			}
		})
	}
}

// If a sampler has to wait for the CPU, before or after it asks the kernel, it still never
// takes a link for faster than it is.
func TestLinkEstimatorLateTicks(t *testing.T) {
	const capacity = 1e6 // bytes per second, all the time
	counters := func(up time.Duration) LinkCounters {
		n := uint64(capacity * up.Seconds())
		return LinkCounters{RxBytes: n, TxBytes: n}
	}
	rapid.Check(t, func(t *rapid.T) {
		e := NewLinkEstimator(DefaultInterval)
		up := time.Hour
		wait := func(what string) {
			up += time.Duration(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 400)).Draw(t, what)) * time.Millisecond
		}
		for range rapid.IntRange(2, 50).Draw(t, "passes") {
			up += DefaultInterval
			wait("before the pass")
			after := at(up)
			wait("before the dump")
			c := counters(up)
			wait("after the dump")
			e.AddBetween(after, at(up), c, DefaultInterval)
		}
		const tolerance = 1 + 1e-6
		if s := e.Stats(); s.DownRateMax > capacity*tolerance || s.UpRateMax > capacity*tolerance || s.DownSMAMax.VeryLong > capacity*tolerance {
			t.Fatalf("a link of %v B/s seems to carry %v down, %v up, %v over 1 s", capacity, s.DownRateMax, s.UpRateMax, s.DownSMAMax.VeryLong)
		}
		if s := e.Stats(); s.DownRate > capacity*tolerance {
			t.Fatalf("a link of %v B/s carries %v", capacity, s.DownRate)
		}
	})
}

func TestLinkEstimatorOtherInterval(t *testing.T) {
	e := NewLinkEstimator(500 * time.Millisecond)
	for i := range uint64(5) {
		e.Add(at(time.Duration(i)*500*time.Millisecond), LinkCounters{RxBytes: 1 + 500*i}, 0)
	}
	s := e.Stats()
	if s.DownSMA != 1000 || s.DownSMAMin.Short != 1000 || s.DownSMAMin.Mid != 0 {
		t.Errorf("moving average over 1 s of a constant 1000 B/s after 2 s: %+v", s)
	}
}

func TestLinkEstimatorMaximumTime(t *testing.T) {
	got := run([]step{{0, 0, 1000}, {DefaultInterval, 0, 9000}, {DefaultInterval, 0, 9001}, {3 * DefaultInterval, 0, 9002}})
	if want := at(time.Hour + DefaultInterval).Wall; !got.DownRateMaxTime.Equal(want) {
		t.Errorf("maximum seen %v, want %v", got.DownRateMaxTime, want)
	}
	if !got.UpRateMaxTime.IsZero() {
		t.Errorf("time %v for a maximum of 0", got.UpRateMaxTime)
	}
}

// Over thousands of slots, the windows agree with their definition.
func TestLinkEstimatorAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := NewLinkEstimator(DefaultInterval)
		bytes, up := uint64(1), time.Duration(0)
		e.Add(at(up), LinkCounters{RxBytes: bytes}, 0)
		var rates, peaks []float64
		late, before, during := false, uint64(0), 0 // the last pass: bytes and slots
		n := rapid.IntRange(1, 60).Draw(t, "passes")
		for range n {
			slots := rapid.SampledFrom([]int{1, 1, 1, 2, 5, 30, 300}).Draw(t, "slots")
			planned := rapid.IntRange(1, 10).Draw(t, "planned")
			sent := rapid.SampledFrom([]uint64{0, 1000, 5000, 70000}).Draw(t, "bytes")
			bytes += sent
			up += time.Duration(slots) * DefaultInterval
			e.Add(at(up), LinkCounters{RxBytes: bytes}, time.Duration(planned)*DefaultInterval)
			rate := float64(sent) / (float64(slots) / 10)
			peak := rate
			if late {
				peak = min(rate, float64(before+sent)/(float64(during+slots)/10))
			}
			late, before, during = slots > planned, sent, slots
			for i := range slots {
				if i < slots-planned {
					rates, peaks = append(rates, 0), append(peaks, 0)
				} else {
					rates, peaks = append(rates, rate), append(peaks, peak)
				}
			}
		}
		got, want := linkKeys(e.Stats()), bruteForce(rates)
		want["download_rate_max_recent"] = slices.Max(append(peaks[max(0, len(peaks)-6000):], 0))
		for key, w := range want {
			if math.Abs(got[key]-w) > 1e-6*w {
				t.Fatalf("%s = %v, want %v after %d slots", key, got[key], w, len(rates))
			}
		}
	})
}

func bruteForce(rates []float64) map[string]float64 {
	history := make([]float64, 6000+10, 6000+10+len(rates)) // zeros before
	rates = append(history, rates...)
	var sma []float64
	for i := 10; i <= len(rates); i++ {
		sum := 0.0
		for _, r := range rates[i-10 : i] {
			sum += r
		}
		sma = append(sma, sum/10)
	}
	last := func(v []float64, n int) []float64 { return v[len(v)-n:] }
	low := func(n int) float64 {
		v := slices.DeleteFunc(slices.Clone(last(sma, n)), func(x float64) bool { return x <= epsilon })
		slices.Sort(v)
		if len(v) == 0 {
			return 0
		}
		return v[len(v)/10]
	}
	return map[string]float64{
		"download_sma_current":          sma[len(sma)-1],
		"download_sma_max":              slices.Max(last(sma, 10)),
		"download_sma_max_mid":          slices.Max(last(sma, 100)),
		"download_sma_max_long":         slices.Max(last(sma, 600)),
		"download_sma_max_longlong":     slices.Max(last(sma, 6000)),
		"download_sma_min":              slices.Min(last(sma, 10)),
		"download_sma_min_mid":          slices.Min(last(sma, 100)),
		"download_sma_min_long":         slices.Min(last(sma, 600)),
		"download_sma_nonzero_10q":      low(10),
		"download_sma_nonzero_10q_mid":  low(100),
		"download_sma_nonzero_10q_long": low(600),
	}
}
