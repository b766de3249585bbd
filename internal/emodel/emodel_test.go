package emodel

import (
	"math"
	"testing"
	"time"
)

// The rating without impairments, and with losses alone, follows by hand from G.107 and
// G.113. The ratings of delays are those of the curve in G.107 for the default echo.
func TestRating(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		delay       time.Duration
		loss, burst float64
		want, near  float64
	}{
		{0, 0, 1, 93.2, 0.05},
		{100 * ms, 0, 1, 90.5, 2},
		{150 * ms, 0, 1, 89, 2},
		{250 * ms, 0, 1, 80, 3},
		{400 * ms, 0, 1, 62, 3},
		{0, 0.01, 1, 93.2 - 95./26.1, 0.05},
		{0, 0.05, 1, 93.2 - 95*5/30.1, 0.05},
		{0, 0.05, 2, 93.2 - 95*5/27.6, 0.05},
		{0, 1, 1, 93.2 - 9500/125.1, 0.05},
		{time.Hour, 1, 1, 0, 0},
		{-time.Second, -1, 0, 93.2, 0.05},
		{0, math.NaN(), math.NaN(), 93.2, 0.05},
		{0, math.Inf(1), 1, 93.2 - 9500/125.1, 0.05},
		{math.MaxInt64, 0, 1, 0, 40},
	} {
		if got := Rating(tt.delay, tt.loss, tt.burst); !(math.Abs(got-tt.want) <= tt.near) {
			t.Errorf("%v, loss %v, bursts %v: %.2f, want %v", tt.delay, tt.loss, tt.burst, got, tt.want)
		}
	}
}

// More delay and more loss are never better.
func TestRatingFalls(t *testing.T) {
	for delay := time.Duration(0); delay < 2*time.Second; delay += time.Millisecond {
		if a, b := Rating(delay, 0, 1), Rating(delay+time.Millisecond, 0, 1); b > a+0.1 { // the formulas have a dent of this depth below 5 ms
			t.Fatalf("%v: %.3f, and 1 ms later %.3f", delay, a, b)
		}
	}
	for loss := 0.0; loss < 1; loss += 0.01 {
		if a, b := Rating(0, loss, 1), Rating(0, loss+0.01, 1); b > a {
			t.Fatalf("loss %v: %.3f, and more of it %.3f", loss, a, b)
		}
	}
}

func TestMOS(t *testing.T) {
	for _, tt := range []struct{ rating, want float64 }{
		{93.2, 4.41}, {90, 4.34}, {80, 4.03}, {70, 3.60}, {60, 3.10}, {50, 2.58}, // G.107, table B.1
		{0, 1}, {5, 1}, {-5, 1}, {math.NaN(), 1}, {100, 4.5}, {200, 4.5},
	} {
		if got := MOS(tt.rating); math.Abs(got-tt.want) > 0.0075 {
			t.Errorf("R = %v: %.3f, want %v", tt.rating, got, tt.want)
		}
	}
}
