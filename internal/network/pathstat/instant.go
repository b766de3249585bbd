package pathstat

import (
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a moment on two clocks. Estimators compute with Up alone, so that a
// step of the wall clock changes no rate and no age; Wall is only passed on, as
// the time of measurement that people read.
type Instant struct {
	Wall time.Time
	// Up never runs backwards and counts the time spent in suspend
	// (CLOCK_BOOTTIME), which the monotonic clock of package time does not: what
	// was measured before the lid was closed is old when it opens.
	Up time.Duration
}

// Now reads the clocks of this machine.
func Now() Instant {
	now := Instant{Wall: time.Now()}
	var ts unix.Timespec
	// It cannot fail since Linux 2.6.39; if it did, Up would stand still, and
	// the estimators skip samples that come without time having passed.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err == nil {
		now.Up = time.Duration(ts.Nano())
	}
	return now
}
