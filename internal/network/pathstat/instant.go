package pathstat

import (
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a moment on two clocks. Estimators use only Up, so that a step of the wall
// clock changes no rate and no age. Wall is passed on as the time of measurement that
// people read.
type Instant struct {
	Wall time.Time
	// Up never runs backwards, and includes the time in suspend (CLOCK_BOOTTIME). The
	// monotonic clock of package time does not include that, but what was measured
	// before the lid was closed should be old when it opens.
	Up time.Duration
}

// Now reads the clocks of this machine.
func Now() Instant {
	now := Instant{Wall: time.Now()}
	var ts unix.Timespec
	// This cannot fail since Linux 2.6.39. If it did, Up would stand still, and
	// estimators would skip the samples, since no time has passed.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err == nil {
		now.Up = time.Duration(ts.Nano())
	}
	return now
}

// threadTime returns the processor time that the calling thread has used.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0 // this cannot fail either; if it did, each pass would read the connections
	}
	return time.Duration(ts.Nano())
}
