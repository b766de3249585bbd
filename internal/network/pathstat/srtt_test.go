package pathstat

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/socket-intents/mamma/policy"
)

// at returns the moment so long after some start.
func at(up time.Duration) Instant {
	return Instant{Wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(up), Up: up}
}

func TestPathEstimator(t *testing.T) {
	var e PathEstimator
	e.Add(at(0), []Sample{
		{RTT: 10_000, RTTVar: 2000, Sent: 100, Lost: 1, Retrans: 10},
		{RTT: 30_000, RTTVar: 4000, Sent: 10, Lost: 1, Retrans: 20}, // more than sent: a SYN too
		{RTT: 20_000, RTTVar: 9000},
		{RTTVar: 250_000, Sent: 9, Lost: 9}, // no round-trip time yet: in no figure (M5)
	})
	want := policy.PathStats{
		Time: at(0).Wall, SampleTime: at(0).Wall, Conns: 3,
		SRTTMean: 20 * time.Millisecond, SRTTMedian: 20 * time.Millisecond,
		SRTTMin: 10 * time.Millisecond, SRTTCurrent: 10 * time.Millisecond,
		SRTTVariance: 200.0 / 3,
		RTTVarMedian: 4 * time.Millisecond, RTTVarMean: 5 * time.Millisecond,
		LossUp: 0.01, RetransUp: 0.1,
	}
	if diff := cmp.Diff(want, e.Stats()); diff != "" {
		t.Errorf("first pass (-want +got):\n%s", diff)
	}

	e.Add(at(time.Minute), nil)
	want = policy.PathStats{
		Time: at(time.Minute).Wall, SampleTime: at(0).Wall,
		SRTTMean: 10 * time.Millisecond, SRTTMedian: 10 * time.Millisecond, SRTTMin: 10 * time.Millisecond,
	}
	if diff := cmp.Diff(want, e.Stats()); diff != "" {
		t.Errorf("idle (-want +got):\n%s", diff)
	}

	// After a night in suspend, everything is forgotten except when the time was last
	// known.
	e.Add(at(8*time.Hour), nil)
	want = policy.PathStats{Time: at(8 * time.Hour).Wall, SampleTime: at(0).Wall}
	if diff := cmp.Diff(want, e.Stats()); diff != "" {
		t.Errorf("expired (-want +got):\n%s", diff)
	}
}

func TestPathEstimatorIgnoresWallClock(t *testing.T) {
	var e PathEstimator
	e.Add(at(0), []Sample{{RTT: 10_000}})
	back := Instant{Wall: at(0).Wall.Add(-24 * time.Hour), Up: time.Second}
	e.Add(back, []Sample{{RTT: 20_000}})
	if got := e.Stats(); got.SRTTMin != 10*time.Millisecond || !got.Time.Equal(back.Wall) {
		t.Errorf("after a step back: %+v", got)
	}
	before := e.Stats()
	e.Add(at(0), []Sample{{RTT: 1}})
	if diff := cmp.Diff(before, e.Stats()); diff != "" {
		t.Errorf("a pass from the past changed the figures:\n%s", diff)
	}
}
