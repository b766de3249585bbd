package main

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/internal/display"
)

// unknown is shown for an unknown figure.
const unknown = "-"

// clean makes text from outside fit for a terminal and for one line. All output also
// passes through a display.Writer, but that knows no fields and lets line ends pass.
func clean(s string) string { return display.Clean(s) }

// cleanLines is clean for text that may have several lines.
func cleanLines(s string) string { return display.CleanLines(s) }

// orUnknown returns *s, cleaned; or unknown.
func orUnknown(s *string) string {
	if s == nil || *s == "" {
		return unknown
	}
	return clean(*s)
}

// msec formats milliseconds without the unit, for columns whose heading has it.
func msec(ms *float64) string {
	if ms == nil {
		return unknown
	}
	return strconv.FormatFloat(*ms, 'f', 1, 64)
}

// took formats a short duration in milliseconds, with its unit.
func took(ms float64) string {
	if ms < 1 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return span(ms)
}

// span formats a duration in milliseconds, with its unit.
func span(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	case ms < 1e6:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
	return long(ms)
}

// ago formats an age in milliseconds, with its unit.
func ago(ms float64) string {
	switch s := ms / 1000; {
	case s < 9.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", math.Floor(s/60))
	}
	return long(ms)
}

// long formats a long duration in milliseconds by its two largest units.
func long(ms float64) string {
	if ms > math.MaxInt64/2/1e6 {
		return unknown
	}
	d := time.Duration(ms) * time.Millisecond
	days, hours := int(d/(24*time.Hour)), int(d/time.Hour)%24
	minutes, seconds := int(d/time.Minute)%60, int(d/time.Second)%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, seconds)
	}
	return fmt.Sprintf("%d s", seconds)
}

// mbps formats bytes per second in Mbit/s, without the unit.
func mbps(rate *float64) string {
	if rate == nil {
		return unknown
	}
	return strconv.FormatFloat(*rate*8/1e6, 'f', 1, 64)
}

// byteSize shows a size with a decimal unit.
func byteSize[T uint64 | int64 | float64](n T) string {
	f := float64(n)
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if math.Abs(f) < 999.5 {
			if unit == "B" || math.Abs(f) >= 99.95 {
				return fmt.Sprintf("%.0f %s", f, unit)
			}
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}

// group formats an integer in groups of three digits.
func group(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// count formats an integer that may be unknown.
func count[T int | uint64](n *T) string {
	if n == nil {
		return unknown
	}
	return strconv.FormatInt(int64(*n), 10)
}
