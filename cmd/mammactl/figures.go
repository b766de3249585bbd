package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// unknown is shown where nothing is known.
const unknown = "-"

// clean makes text from outside fit for a terminal and for one line: control
// and other invisible characters could make it say what it likes.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// cleanLines is clean for text that may have several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// orUnknown is *s cleaned.
func orUnknown(s *string) string {
	if s == nil || *s == "" {
		return unknown
	}
	return clean(*s)
}

// msec shows milliseconds without unit, for columns that have it in the heading.
func msec(ms *float64) string {
	if ms == nil {
		return unknown
	}
	return strconv.FormatFloat(*ms, 'f', 1, 64)
}

// took shows a short duration of so many milliseconds, with unit.
func took(ms float64) string {
	if ms < 1 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return span(ms)
}

// span shows a duration of so many milliseconds, with unit.
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

// ago shows an age of so many milliseconds, with unit.
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

// long shows a long duration of so many milliseconds by its two largest units.
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

// mbps shows bytes per second in Mbit/s, without unit.
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

// short shows a size in as few characters as possible: 300M, 1.5G.
func short(n int64) string {
	f := float64(n)
	for _, unit := range []string{"", "K", "M", "G"} {
		if math.Abs(f) < 999.95 {
			return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + unit
		}
		f /= 1000
	}
	return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) + "T"
}

// group shows an integer in groups of three digits.
func group(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// count shows an integer that may be unknown.
func count[T int | uint64](n *T) string {
	if n == nil {
		return unknown
	}
	return strconv.FormatInt(int64(*n), 10)
}

// multipliers of sizes. Those without "i" are decimal, as in rates and on disks.
var multipliers = map[string]float64{
	"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"ki": 1 << 10, "kib": 1 << 10, "mi": 1 << 20, "mib": 1 << 20, "gi": 1 << 30, "gib": 1 << 30, "ti": 1 << 40, "tib": 1 << 40,
}

// parseSize reads a size such as 300M, 1.5GB, 64KiB or 1000.
func parseSize(s string) (int64, error) {
	i := strings.LastIndexAny(s, "0123456789.") + 1
	m, ok := multipliers[strings.ToLower(strings.TrimSpace(s[i:]))]
	f, err := strconv.ParseFloat(s[:i], 64)
	if !ok || err != nil || f < 0 {
		return 0, errors.New("must be a size such as 300M, 1.5G or 64KiB")
	}
	if f*m >= math.MaxInt64 {
		return 0, errors.New("is too large")
	}
	return int64(math.Round(f * m)), nil
}

// parseSeconds reads a number of seconds, or a duration such as 5m.
func parseSeconds(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("must be a number of seconds, or a duration such as 90s or 5m")
	}
	return int64(math.Round(d.Seconds())), nil
}
