package intent

import (
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1000": 1000, "300M": 300e6, "300MB": 300e6, "300mb": 300e6, "1.5g": 1.5e9, "1.5G": 1.5e9, "1.5 GiB": 3 << 29, " 5 GB ": 5e9, "64KiB": 65536, "64ki": 65536,
		"64K": 64000, "2 kB": 2000, "1T": 1e12, "800MiB": 800 << 20, "1B": 1, "7b": 7, "5gb": 5e9, "0GB": 0, "0.57GB": 57e7, "1.0005k": 1001, ".5k": 500, "5.": 5,
		"9223372036854775807": math.MaxInt64, "8191.999PiB": -1, "8388607.5TiB": math.MaxInt64 - 1<<39 + 1,
		"": -1, "M": -1, "GB": -1, "-1": -1, "+1": -1, "3X": -1, "1e3": -1, "1e9GB": -1, "NaN": -1, "NaNGB": -1, "0x10": -1, "1_000": -1, "9999999T": -1, "1.2.3": -1, ".": -1,
		"9223372036854775808": -1, "8388608TiB": -1, "0.00000000000000000000000000000000000000001G": -1, "3 M B": -1, "3 3M": -1,
	} {
		got, err := ParseSize(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d (%v), want %d", text, got, err, want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]float64{
		"10Mbit/s": 1.25e6, "800 kbit/s": 1e5, "10Mbps": 1.25e6, "1.25MB/s": 1.25e6, "8bit/s": 1, "5 B/s": 5, "1GiB/s": 1 << 30, "0B/s": 0,
		"": -1, "10": -1, "10M": -1, "10Mb/s": -1, "10MB": -1, "10MBbit/s": -1, "bit/s": -1, "-1MB/s": -1, "10M/s": -1, "NaNB/s": -1,
	} {
		got, err := ParseRate(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v (%v), want %v", text, got, err, want)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for want, n := range map[string]int64{
		"0B": 0, "1B": 1, "999B": 999, "5GB": 5e9, "1500MB": 1.5e9, "1000001kB": 1000001000, "800MiB": 800 << 20, "1TiB": 1 << 40, "9223372036854775807B": math.MaxInt64,
	} {
		if got := FormatSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
		if got, err := ParseSize(want); got != n || err != nil {
			t.Errorf("%s is read back as %d, %v", want, got, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	const wrong = time.Duration(math.MinInt64)
	for text, want := range map[string]time.Duration{
		"250ms": 250 * time.Millisecond, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour,
		"-1d12h": -36 * time.Hour, "-5s": -5 * time.Second, "+5s": 5 * time.Second, "0": 0, "5": 5 * time.Second, "1.5": 1500 * time.Millisecond, "-3": -3 * time.Second,
		"5 s": 5 * time.Second, " 5s ": 5 * time.Second, "1h 30m": 90 * time.Minute, "1 h 30 m": 90 * time.Minute, "7 d": 7 * day, "1d 12h": 36 * time.Hour, "-5 s": -5 * time.Second, "106751d23h": 106751*day + 23*time.Hour,
		"": wrong, " ": wrong, "5 5s": wrong, "1. 5s": wrong, "5 m s": wrong, "- 5s": wrong, "1e3": wrong, "10000000000": wrong, "d": wrong, "1d-5h": wrong, "1d5": wrong, "1dd": wrong, "-": wrong, "--5s": wrong, "x": wrong, "1e9d": wrong,
		"106752d": wrong, "106751d24h": wrong, "9999999999999d": wrong, "NaNd": wrong,
	} {
		got, err := ParseDuration(text)
		if err != nil {
			got = wrong
		}
		if got != want {
			t.Errorf("%q: %v (%v), want %v", text, got, err, want)
		}
	}
}

// ParseDuration returns the same as time.ParseDuration for each text that both accept.
func FuzzParseDuration(f *testing.F) {
	for _, text := range []string{"1h30m", "-1.5s", "7d", "1d-5h", "+0", "\u00b5s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := time.ParseDuration(text)
		if err != nil || want == math.MinInt64 {
			return
		}
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%q: %v (%v), want %v", text, got, err, want)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, text := range []string{"300M", "1.5 GiB", "64KiB", ".", "9223372036854775807"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err != nil {
			return
		}
		if n < 0 {
			t.Errorf("%q is %d", text, n)
		}
		if again, err := ParseSize(FormatSize(n)); again != n || err != nil {
			t.Errorf("%q is %d, shown as %s, read back as %d (%v)", text, n, FormatSize(n), again, err)
		}
	})
}
