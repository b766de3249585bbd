package player

import (
	"math"
	"testing"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

func TestAlgorithms(t *testing.T) {
	v := workload.V()
	for _, tt := range []struct {
		seconds      float64
		buffer, bola int
	}{
		{0, 0, 0}, {4, 0, 0}, {8, 0, 0}, {10, 3, 0}, {14, 4, 3}, {20, 6, 6}, {24, 6, 6},
	} {
		d := time.Duration(tt.seconds * float64(time.Second))
		if b := BufferBased(&v, d); b != tt.buffer {
			t.Errorf("%v s: buffer-based takes rung %d, want %d", tt.seconds, b, tt.buffer)
		}
	}
	before := 0
	for s := range 25 {
		rung := BOLA(&v, time.Duration(s)*time.Second)
		if rung < before {
			t.Errorf("BOLA goes down from %d to %d at %d s", before, rung, s)
		}
		before = rung
	}
	if BOLA(&v, 0) != 0 || before != len(v.Ladder)-1 {
		t.Errorf("BOLA ends at rung %d", before)
	}
	if Named("bola") == nil || Named("buffer") == nil || Named("best") != nil {
		t.Error("names")
	}
}

func TestJudge(t *testing.T) {
	v := workload.V()
	best := []Shown{{6, time.Second}, {6, 0}, {6, 0}, {6, 0}}
	if j := Judge(&v, best); j.MOS != 5 || j.Stalled != 0 || j.MeanRung != 6 || j.Switches != 0 {
		t.Errorf("the best: %+v", j)
	}
	// The segments change once from worst to best, and 4 s of 20 s are stalled: 1 + 2 -
	// 2 - 1/4.
	mixed := []Shown{{0, 0}, {0, 0}, {6, 4 * time.Second}, {6, 0}}
	if j := Judge(&v, mixed); math.Abs(j.MOS-1) > 1e-9 || math.Abs(j.Stalled-0.2) > 1e-9 || j.Switches != 1 || j.MeanRung != 3 {
		t.Errorf("%+v", j)
	}
	if j := Judge(&v, []Shown{{0, 0}, {0, 0}, {6, 0}, {6, 0}}); math.Abs(j.MOS-2.75) > 1e-9 {
		t.Errorf("without stall %+v", j)
	}
	if j := Judge(&v, nil); j.MOS != 1 {
		t.Errorf("nothing shown: %+v", j)
	}
}

// A segment of 1 MB that began at 5 Mbit/s and goes on at 0.2 Mbit/s is given up after
// some seconds. A segment that comes in time, or whose rest is small, is not given up.
func TestGiveUp(t *testing.T) {
	v := workload.V()
	top := len(v.Ladder) - 1
	for _, tt := range []struct {
		rung    int
		loaded  int64
		elapsed time.Duration
		lower   int
		ok      bool
	}{
		{top, 100_000, 400 * time.Millisecond, top, false}, // too early to tell
		{top, 0, 10 * time.Second, top, false},             // no rate is known
		{top, 600_000, time.Second, top, false},            // in time
		{top, 600_000, 5 * time.Second, 3, true},           // 960 kbit/s
		{top, 250_000, 10 * time.Second, 0, true},
		{top, 1_900_000, 20 * time.Second, top - 4, false}, // nearly complete
		{1, 30_000, 10 * time.Second, 0, true},
		{0, 30_000, 10 * time.Second, -1, false}, // there is no lower rung
		{top, 5_000_000, 10 * time.Second, top, false},
	} {
		if lower, ok := GiveUp(&v, tt.rung, tt.loaded, tt.elapsed, 8*time.Second); ok != tt.ok || ok && lower != tt.lower {
			t.Errorf("rung %d, %d bytes in %v: %d, %v, want %d, %v", tt.rung, tt.loaded, tt.elapsed, lower, ok, tt.lower, tt.ok)
		}
	}
	if _, ok := GiveUp(&v, top, 600_000, 5*time.Second, 20*time.Second); ok {
		t.Error("given up with 20 s in the buffer")
	}
}
