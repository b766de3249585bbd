package pathstat

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSlidingAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sliding{max: rapid.Bool().Draw(t, "max")}
		window := rapid.Int64Range(1, 20).Draw(t, "window")
		var all []extreme
		pos := int64(0)
		for range rapid.IntRange(1, 100).Draw(t, "samples") {
			pos += rapid.Int64Range(0, 3).Draw(t, "step")
			v := float64(rapid.IntRange(0, 9).Draw(t, "value"))
			all = append(all, extreme{pos, v})
			s.push(pos, v)
			s.expire(pos - window + 1)

			var in []float64
			for _, e := range all {
				if e.at > pos-window {
					in = append(in, e.value)
				}
			}
			want := slices.Min(in)
			if s.max {
				want = slices.Max(in)
			}
			if got := s.value(); got != want {
				t.Fatalf("at %d: got %v, want %v of %v", pos, got, want, in)
			}
		}
	})
}

func TestSlidingGrainBoundsMemory(t *testing.T) {
	s := sliding{grain: 10}
	for i := range int64(10_000) {
		s.push(i, float64(i)) // the worst case: every sample may become the minimum
		s.expire(i - 100)
	}
	if s.n > 11 {
		t.Errorf("%d entries for a window of 10 grains", s.n)
	}
	if got := s.value(); got < 9890 || got > 9910 {
		t.Errorf("minimum %v, want that of 100 samples ago to within a grain", got)
	}
}

func TestDecileAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 60).Draw(t, "window")
		d := newDecile(window)
		ring := make([]float64, window)
		for i := range rapid.IntRange(1, 200).Draw(t, "samples") {
			if rapid.IntRange(0, 60).Draw(t, "reset") == 60 {
				d.reset()
				clear(ring)
			}
			v := float64(rapid.IntRange(0, 12).Draw(t, "value"))
			ring[i%window] = v
			d.replace(i%window, v)

			var sorted []float64
			for _, v := range ring {
				if v > epsilon {
					sorted = append(sorted, v)
				}
			}
			slices.Sort(sorted)
			want := 0.0
			if len(sorted) > 0 {
				want = sorted[len(sorted)/10]
			}
			if got := d.quantile(); got != want {
				t.Fatalf("after %d: got %v, want %v of %v", i, got, want, sorted)
			}
		}
	})
}

func TestMedianAgainstSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Uint32Range(0, 50), 0, 80).Draw(t, "values")
		sorted := slices.Sorted(slices.Values(v))
		want := 0.0
		if n := len(sorted); n > 0 {
			want = (float64(sorted[(n-1)/2]) + float64(sorted[n/2])) / 2
		}
		if got := median(v); got != want {
			t.Fatalf("got %v, want %v of %v", got, want, sorted)
		}
	})
}
