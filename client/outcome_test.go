package client

import (
	"math"
	"testing"
	"time"
)

// A program may report any duration. It stays what it is, or the nearest that a report can
// have.
func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]uint32{
		-time.Second: 0, 0: 0, 999 * time.Microsecond: 0, 1500 * time.Millisecond: 1500, 1000 * time.Hour * 24: math.MaxUint32,
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}
