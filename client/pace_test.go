package client

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name            string
		pace            pace
		candidate       candidate
		attempt, lookup time.Duration
	}{
		{"nothing known", pace{}, candidate{}, 250 * ms, 250 * ms},
		{"three round trips", pace{}, candidate{rtt: 50 * ms}, 150 * ms, 250 * ms},
		{"long way", pace{}, candidate{rtt: 100 * ms}, 300 * ms, 300 * ms},
		{"lower bound", pace{}, candidate{rtt: 2 * ms}, 100 * ms, 250 * ms},
		{"satellite", pace{}, candidate{rtt: 600 * ms}, 1800 * ms, 1800 * ms},
		{"upper bound", pace{}, candidate{rtt: time.Hour}, 2 * time.Second, 2 * time.Second},
		{"suspect", pace{}, candidate{suspect: true}, 250 * ms, 250 * ms},
		{"suspect, long way", pace{}, candidate{suspect: true, rtt: 600 * ms}, 250 * ms, 250 * ms},
		{"suspect, short way", pace{}, candidate{suspect: true, rtt: 10 * ms}, 100 * ms, 250 * ms},
		{"raced", pace{}, candidate{race: true, rtt: 600 * ms}, 0, 250 * ms},
		{"set", pace{true, 70 * ms}, candidate{rtt: 600 * ms}, 70 * ms, 70 * ms},
		{"not to wait", pace{true, 0}, candidate{suspect: true}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.pace.attempt(&test.candidate); got != test.attempt {
				t.Errorf("attempt: %v, want %v", got, test.attempt)
			}
			if got := test.pace.lookup(&test.candidate); got != test.lookup {
				t.Errorf("lookup: %v, want %v", got, test.lookup)
			}
		})
	}
}
