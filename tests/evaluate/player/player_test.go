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
	// One change from worst to best, 4 s of 20 s stalled: 1 + 2 - 2 - 1/4.
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
