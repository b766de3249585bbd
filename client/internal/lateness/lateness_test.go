package lateness

import (
	"testing"
	"time"
)

// However late answers are, only the allowed share of requests is sent twice.
func TestAllowance(t *testing.T) {
	for _, tt := range []struct {
		share       float64
		asked, want uint64
	}{{0.05, 1, 1}, {0.05, 0, 1}, {0.05, 20, 2}, {0.05, 1000, 51}, {0.5, 10, 6}, {-1, 1000, 0}} {
		var a Allowance
		spend := func() {
			for a.Spend(tt.share) {
			}
		}
		spend()
		for range tt.asked {
			a.Ask()
			spend()
		}
		if asked, twice := a.Counts(); asked != tt.asked || twice != tt.want {
			t.Errorf("%d requests with a share of %v: %d are sent twice, want %d", asked, tt.share, twice, tt.want)
		}
	}
}

// What is expected follows the answers.
func TestAnswers(t *testing.T) {
	const ms = time.Millisecond
	var a Answers
	if _, ok := a.Patience(); ok {
		t.Error("known from the start")
	}
	for _, tt := range []struct {
		took, want time.Duration
	}{
		{100 * ms, 300 * ms}, {100 * ms, 250 * ms}, {100 * ms, 212500 * time.Microsecond}, {900 * ms, 1084375 * time.Microsecond},
	} {
		a.Took(tt.took)
		if got, ok := a.Patience(); !ok || got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.took, got, tt.want)
		}
	}
}
