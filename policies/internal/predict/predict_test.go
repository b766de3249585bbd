package predict

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "github.com/socket-intents/mamma/policies/internal/situation"
	"github.com/socket-intents/mamma/policy"
	. "github.com/socket-intents/mamma/policy/policytest"
)

// This is the worked example of doc/original/policies.md 3.5. The rest of that table is
// among the vectors of package policies.
func TestNewConnection(t *testing.T) {
	got := NewConnection(100000, 1250000, 50, false)
	if got.Rounds != 2 || got.Limit != 50000 || got.Rest != 56560 || got.Rate != 579200 || math.Abs(float64(got.Time)-247.651934) > 1e-6 {
		t.Errorf("%+v", got)
	}
	// The original predicts no slow start for a limit above 31 bits.
	if got := NewConnection(1<<40, 125e9, 100, false); got.Rounds < 10 || got.Limit != 10_000_000_000 {
		t.Errorf("large bandwidth-delay product: %+v", got)
	}
}

func TestCompletionIsNeverOddNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, capacity, rtt := rapid.Int64().Draw(t, "size"), rapid.Float64().Draw(t, "capacity"), rapid.Float64().Draw(t, "rtt")
		reuse, tls := rapid.Bool().Draw(t, "reuse"), rapid.Bool().Draw(t, "tls")
		got := Completion(size, policy.BytesPerSecond(capacity), Millis(rtt), reuse, tls)
		if math.IsNaN(float64(got)) || math.IsInf(float64(got), 1) {
			t.Fatalf("Completion = %v", got)
		}
		if size >= 0 && got < Millis(rtt) {
			t.Fatalf("Completion = %v, less than one round trip", got)
		}
		if got.Duration() < 0 {
			t.Fatalf("Duration = %v", got.Duration())
		}
	})
}

func TestMoreBytesTakeLonger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, more := rapid.Int64Range(0, 1<<40).Draw(t, "size"), rapid.Int64Range(0, 1<<30).Draw(t, "more")
		capacity, rtt := policy.BytesPerSecond(rapid.Float64Range(1, 1e10).Draw(t, "capacity")), Millis(rapid.Float64Range(0.1, 5000).Draw(t, "rtt"))
		reuse := rapid.Bool().Draw(t, "reuse")
		a, b := Completion(size, capacity, rtt, reuse, false), Completion(size+more, capacity, rtt, reuse, false)
		// One more round of slow start may be faster than the rest at the previous
		// round's rate, but by less than that round trip.
		if b < a-rtt-a*1e-9 {
			t.Fatalf("%d bytes take %v ms, %d bytes %v ms", size, a, size+more, b)
		}
	})
}

func TestMillisDuration(t *testing.T) {
	for _, tt := range []struct {
		in   Millis
		want time.Duration
	}{
		{Unknown, 0}, {Millis(math.NaN()), 0}, {-5, 0}, {0, 0}, {1.5, 1500 * time.Microsecond}, {1e300, math.MaxInt64}, {Millis(math.Inf(1)), 0},
	} {
		if got := tt.in.Duration(); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestOptionOverridesMeasurement(t *testing.T) {
	for _, tt := range []struct {
		option string
		want   float64
	}{
		{"30", 30}, {"0", 0}, {"-1", 0}, {"0.00005", 0}, {"1.7976931348623157e308", 0}, {"fast", 20},
	} {
		if got := Value(policy.MetricSRTTMin, A(Option("srtt_minimum_recent", tt.option))); got != tt.want {
			t.Errorf("configured as %q: %v, want %v", tt.option, got, tt.want)
		}
	}
}

func TestCapacity(t *testing.T) {
	if got := FreeCapacity(A()); math.Abs(float64(got)-1077586.2) > 0.1 {
		t.Errorf("FreeCapacity(a) = %v", got)
	}
	if got := FreeOrBusyCapacity(A()); got != 1250000 {
		t.Errorf("FreeOrBusyCapacity(a) = %v", got)
	}
	bare := Prefix("c", "10.0.3.2/24")
	for _, got := range []policy.BytesPerSecond{FreeCapacity(bare), FreeOrBusyCapacity(bare), Counted(0, 0), Counted(0.0001, 1)} {
		if got != NoCapacity {
			t.Errorf("unknown capacity = %v", got)
		}
	}
}
