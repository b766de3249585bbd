package main

import (
	"strings"
	"testing"
	"time"
)

func TestDurationFlag(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  time.Duration
		shown string
		wrong string // a part of the message
	}{
		{"1d", 24 * time.Hour, "1d", ""},
		{"1d12h", 36 * time.Hour, "36h", ""},
		{"0.0001d", 8640 * time.Millisecond, "8.64s", ""},
		{"90s", 90 * time.Second, "1m30s", ""},
		{"10m", 10 * time.Minute, "10m", ""},
		{"0", 0, "0", ""},
		{"0s", 0, "0", ""},
		{"10ms", 10 * time.Millisecond, "10ms", ""},
		{"5", 5 * time.Second, "5s", ""},
		{"1.5", 1500 * time.Millisecond, "1.5s", ""},
		{"5 s", 5 * time.Second, "5s", ""},
		{"0.001", 0, "", "must be from 10ms to 365d, and a number without a unit means seconds"},
		{"soon", 0, "", `"soon" is not a number of seconds or a duration such as 250ms, 90s, 5m or 7d`},
		{"-1s", 0, "", "must not be negative"},
		{"9ms", 0, "", "must be from 10ms to 365d"},
		{"366d", 0, "", "must be from 10ms to 365d"},
		{"1e300d", 0, "", "not a number of seconds or a duration"},
		{"", 0, "", "not a number of seconds or a duration"},
	} {
		d := time.Hour
		f := &durationFlag{to: &d, min: 10 * time.Millisecond, max: 365 * day, zero: true}
		err := f.Set(tt.text)
		switch {
		case tt.wrong != "":
			if err == nil || !strings.Contains(err.Error(), tt.wrong) || d != time.Hour {
				t.Errorf("%q: %v, %v", tt.text, d, err)
			}
		case err != nil || d != tt.want || f.String() != tt.shown:
			t.Errorf("%q: %v, shown as %s, %v", tt.text, d, f, err)
		default:
			if err := f.Set(f.String()); err != nil || d != tt.want {
				t.Errorf("%s becomes %v, %v", tt.shown, d, err)
			}
		}
	}
}

// All flags for durations and sizes accept the same texts, within their bounds, and say
// what is wrong.
func TestQuantitiesOfFlags(t *testing.T) {
	path := serve(t, newFake())
	for _, tt := range []struct {
		args  string
		code  int
		wrong string
	}{
		{"profile cpu --for 0.0001d", exitError, "there is no /v1/profile/cpu"}, // the fake has no profiles
		{"profile cpu --for 1d", exitUsage, `invalid argument "1d" for "--for" flag: must be from 10ms to 5m`},
		{"profile cpu --for 1ms", exitUsage, "must be from 10ms to 5m"},
		{"profile cpu --for 0", exitUsage, "must be from 10ms to 5m"},
		{"profile cpu --for 30", exitError, "there is no /v1/profile/cpu"},
		{"get --max-time 400d http://192.0.2.1/f", exitUsage, "must be from 1ms to 365d"},
		{"get --max-time 10 ftp://192.0.2.1/f", exitProtocol, "neither http nor https"},
		{"get --max-time 1d ftp://192.0.2.1/f", exitProtocol, "neither http nor https"},
		{"explain a --filesize 1.5GiB --bitrate 64KiB --duration 1d12h", exitOK, ""},
		{"explain a --filesize 1.5GX", exitUsage, "is not a number of bytes or a size"},
		{"explain a --filesize 10000000TB", exitUsage, "is too large"},
		{"explain a --filesize -1", exitUsage, "is negative"},
		{"decisions --since 1d", exitOK, ""},
		{"decisions --since yesterday", exitUsage, `--since takes an age, such as 10m or 1d, or a time, such as 14:30 or "2026-03-01 14:30", not "yesterday"`},
	} {
		code, _, errs := mammactl(t.Context(), path, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(errs, tt.wrong) || tt.wrong == "" && errs != "" {
			t.Errorf("%s: exit code %d, %q", tt.args, code, errs)
		}
	}
}

func TestTimeOf(t *testing.T) {
	zone := time.FixedZone("", 3600)
	a := &app{location: zone, now: func() time.Time { return now }} // in this zone it is 13:03:42
	for text, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "10 m": now.Add(-10 * time.Minute), "10": now.Add(-10 * time.Second), "0": now, "1d": now.Add(-day),
		"13:00": time.Date(2026, 3, 1, 13, 0, 0, 0, zone), "13:04": time.Date(2026, 2, 28, 13, 4, 0, 0, zone), "13:03:42": now,
		"2026-02-01": time.Date(2026, 2, 1, 0, 0, 0, 0, zone), "2026-02-01 07:08": time.Date(2026, 2, 1, 7, 8, 0, 0, zone),
		"2026-02-01T07:08:09": time.Date(2026, 2, 1, 7, 8, 9, 0, zone), "2026-02-01T07:08:09Z": time.Date(2026, 2, 1, 7, 8, 9, 0, time.UTC),
	} {
		if got, err := a.timeOf(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"-1h", "", "soon", "25:00", "2026-02-30"} {
		if got, err := a.timeOf(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
