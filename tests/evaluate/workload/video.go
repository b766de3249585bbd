package workload

import "time"

// Video is a film in segments, each of which is there in several bit rates.
type Video struct {
	Length  time.Duration
	Segment time.Duration
	Ladder  []int64 // bits per second, ascending
	// Beside the segments, as many bytes of sound are fetched so often.
	Audio      int64
	AudioEvery time.Duration
}

// V is the video of the evaluation.
func V() Video {
	return Video{
		Length:     240 * time.Second,
		Segment:    4 * time.Second,
		Ladder:     []int64{218e3, 378e3, 509e3, 783e3, 1474e3, 2087e3, 3936e3},
		Audio:      100_000,
		AudioEvery: 3 * time.Second,
	}
}

// Segments is the number of segments.
func (v Video) Segments() int { return int(v.Length / v.Segment) }

// Size is that of a segment on a rung of the ladder, in bytes.
func (v Video) Size(rung int) int64 {
	return int64(float64(v.Ladder[rung]) / 8 * v.Segment.Seconds())
}
