package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// day is the unit d of durations.
const day = 24 * time.Hour

// durationFlag is a flag for a duration, with the syntax of all durations
// (intent.ParseDuration).
type durationFlag struct {
	to       *time.Duration
	min, max time.Duration
	zero     bool // 0 is allowed, too
}

// String implements pflag.Value.
func (f *durationFlag) String() string {
	if f.to == nil || *f.to == 0 {
		return "0"
	}
	return durationText(*f.to)
}

// Type is the placeholder of the value in the help text.
func (f *durationFlag) Type() string { return "duration" }

// Set implements pflag.Value.
func (f *durationFlag) Set(text string) error {
	d, err := intent.ParseDuration(text)
	switch {
	case err != nil:
		return err
	case d < 0:
		return errors.New("must not be negative")
	case d == 0 && f.zero:
	case d < f.min || d > f.max:
		hint := ""
		if strings.Trim(text, "+-0123456789.") == "" {
			hint = ", and a number without a unit means seconds"
		}
		return fmt.Errorf("must be from %s to %s%s", durationText(f.min), durationText(f.max), hint)
	}
	*f.to = d
	return nil
}

// durationText is a duration in the units of intent.ParseDuration, without those that are 0.
func durationText(d time.Duration) string {
	if days := d / day; days > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", days)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// clockTime returns the present time.
func (a *app) clockTime() time.Time {
	if a.now != nil {
		return a.now()
	}
	return time.Now()
}

// timeOf reads a time. The text is an age, a time of day (the latest such), or a date
// with or without a time of day.
func (a *app) timeOf(text string) (time.Time, error) {
	now := a.clockTime().In(a.location)
	if d, err := intent.ParseDuration(text); err == nil {
		if d < 0 {
			return now, fmt.Errorf("--since must not be negative: %q", text)
		}
		return now.Add(-d), nil
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, a.location); err == nil {
			t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), a.location)
			if t.After(now) {
				t = t.AddDate(0, 0, -1)
			}
			return t, nil
		}
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, a.location); err == nil {
			return t, nil
		}
	}
	return now, fmt.Errorf("--since takes an age, such as 10m or 1d, or a time, such as 14:30 or \"2026-03-01 14:30\", not %q", text)
}
