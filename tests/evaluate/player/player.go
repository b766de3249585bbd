// Package player holds what a video player decides, and how what it showed is
// judged, in pure functions of its buffer: no network, no clock.
package player

import (
	"math"
	"time"

	"github.com/socket-intents/mamma/tests/evaluate/workload"
)

// MaxBuffer is how much a player loads ahead.
const MaxBuffer = 24 * time.Second

// Algorithm chooses the rung of the next segment by what is in the buffer.
type Algorithm func(v *workload.Video, buffer time.Duration) int

// BufferBased raises the rate linearly with the buffer, between a reservoir of
// two segments, below which the lowest rung is taken, and a segment short of the
// whole buffer (BBA-0 of Huang et al., SIGCOMM 2014).
func BufferBased(v *workload.Video, buffer time.Duration) int {
	reservoir, full := 2*v.Segment, MaxBuffer-v.Segment
	share := float64(buffer-reservoir) / float64(full-reservoir)
	low, high := v.Ladder[0], v.Ladder[len(v.Ladder)-1]
	rate := float64(low) + share*float64(high-low)
	rung := 0
	for i, r := range v.Ladder {
		if float64(r) <= rate {
			rung = i
		}
	}
	return rung
}

// BOLA weighs a segment's utility, the logarithm of its size, against the buffer
// (BOLA-BASIC of Spiteri et al., INFOCOM 2016, with gamma p of 5).
func BOLA(v *workload.Video, buffer time.Duration) int {
	const gp = 5
	level := buffer.Seconds() / v.Segment.Seconds()
	most := MaxBuffer.Seconds() / v.Segment.Seconds()
	top := math.Log(float64(v.Ladder[len(v.Ladder)-1]) / float64(v.Ladder[0]))
	weight := (most - 1) / (top + gp)
	best, rung := math.Inf(-1), 0
	for i, r := range v.Ladder {
		size := float64(r) / float64(v.Ladder[0])
		if score := (weight*(math.Log(size)+gp) - level) / size; score > best {
			best, rung = score, i
		}
	}
	return rung
}

// The rule by which players give a segment up, with the constants of dash.js
// (AbandonRequestsRule).
const (
	stable   = 12 * time.Second       // with more in the buffer nothing is given up
	grace    = 500 * time.Millisecond // before the rate means anything
	tooLong  = 1.8                    // of a segment's length
	safeRate = 0.9                    // of the rate seen, for the next try
)

// GiveUp tells whether a player gives a segment up, and on which lower rung it tries
// again. It knows how much of the segment was loaded in which time, and how much is
// left in the buffer. The player gives up if the segment would take too long at the
// rate seen, and if loading it again on the lower rung is less than the rest.
func GiveUp(v *workload.Video, rung int, loaded int64, elapsed, buffer time.Duration) (lower int, ok bool) {
	size := v.Size(rung)
	if buffer > stable || elapsed < grace || loaded <= 0 || loaded >= size {
		return rung, false
	}
	rate := float64(loaded) / elapsed.Seconds()
	if float64(size)/rate < tooLong*v.Segment.Seconds() {
		return rung, false
	}
	for lower = rung - 1; lower > 0 && float64(v.Ladder[lower])/8 > safeRate*rate; {
		lower--
	}
	return lower, lower >= 0 && v.Size(lower) < size-loaded
}

// Named returns the algorithm of that name, "buffer" or "bola", nil if there is
// none.
func Named(name string) Algorithm {
	switch name {
	case "buffer":
		return BufferBased
	case "bola":
		return BOLA
	}
	return nil
}

// Shown is how one segment was shown.
type Shown struct {
	Rung  int
	Stall time.Duration // before it
}

// Judgement sums up a film.
type Judgement struct {
	MOS      float64 // see Judge
	Stalled  float64 // share of the time from the first picture to the last
	MeanRung float64
	Switches int
}

// Judge rates a film. The MOS is a stand-in for the mean opinion of people, from
// 1 (bad) to 5 (excellent):
//
//	1 + 4 q - 10 s - d
//
// q is the mean quality of the segments, that of a rung being the logarithm of
// its rate on a scale from 0, the lowest rung, to 1, the highest; s is the share
// of time in which the picture stood still; d is the mean change of quality from
// a segment to the next. It is at least 1. The start-up delay does not count.
func Judge(v *workload.Video, shown []Shown) Judgement {
	var j Judgement
	if len(shown) == 0 {
		return Judgement{MOS: 1}
	}
	quality := func(rung int) float64 {
		low, high := float64(v.Ladder[0]), float64(v.Ladder[len(v.Ladder)-1])
		return math.Log(float64(v.Ladder[rung])/low) / math.Log(high/low)
	}
	var stalled time.Duration
	sum, change := 0.0, 0.0
	for i, s := range shown {
		sum += quality(s.Rung)
		j.MeanRung += float64(s.Rung)
		if i == 0 {
			continue
		}
		stalled += s.Stall
		if before := shown[i-1].Rung; before != s.Rung {
			j.Switches++
			change += math.Abs(quality(s.Rung) - quality(before))
		}
	}
	n := float64(len(shown))
	j.MeanRung /= n
	j.Stalled = stalled.Seconds() / (stalled.Seconds() + n*v.Segment.Seconds())
	j.MOS = max(1, 1+4*sum/n-10*j.Stalled-change/n)
	return j
}
