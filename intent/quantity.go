package intent

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are the units of sizes; units with an i are binary. FormatSize takes the
// first unit that divides its size, so the largest comes first.
var sizeUnits = []struct {
	name string
	by   int64
}{
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3},
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
}

// maxDigits bounds the digits of a quantity. A longer number is a mistake.
const maxDigits = 40

// ParseSize reads an amount of data in bytes, such as "300M", "64KiB", "1.5G",
// "1.5 GiB", "300MB" or "1000". Configuration files, flags, SOCKS user names,
// policies and mammactl all read sizes with it. Units are decimal, as in data
// rates and mobile contracts; those with an i (IEC 80000-13) are binary. The
// final B may be missing, and case does not matter. A number without a unit is one of
// bytes. A fraction of a byte is rounded. Negative sizes and those beyond 63 bits are errors.
func ParseSize(text string) (int64, error) {
	number, unit := splitQuantity(text)
	by, ok := sizeUnit(unit)
	if !ok || !decimal(number) {
		return 0, fmt.Errorf("%q is not a number of bytes or a size such as 300M, 1.5G or 64KiB", text)
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n <= math.MaxInt64/by {
		return n * by, nil
	}
	exact, _ := new(big.Rat).SetString(number)
	exact.Mul(exact, big.NewRat(by, 1)).Add(exact, big.NewRat(1, 2))
	bytes := new(big.Int).Quo(exact.Num(), exact.Denom())
	if !bytes.IsInt64() {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return bytes.Int64(), nil
}

// rateUnits are the endings of a data rate, in bytes per second each. A lone small b is
// not among them, because some take it for bits and others for bytes.
var rateUnits = []struct {
	name string
	by   float64
}{
	{"bit/s", 1.0 / 8}, {"bps", 1.0 / 8}, {"B/s", 1},
}

// ParseRate reads a data rate, such as "10Mbit/s", "800 kbit/s", "10Mbps" or "1.25MB/s",
// in bytes per second. The number and the letter before the unit are as in ParseSize. A
// number without a unit is an error, because nobody could tell bits from bytes.
func ParseRate(text string) (bytesPerSecond float64, err error) {
	for _, u := range rateUnits {
		amount, ok := strings.CutSuffix(text, u.name)
		if !ok || strings.HasSuffix(strings.ToLower(amount), "b") {
			continue
		}
		if n, err := ParseSize(amount); err == nil {
			return float64(n) * u.by, nil
		}
	}
	return 0, fmt.Errorf("%q is not a rate such as 10Mbit/s or 1.25MB/s", text)
}

// FormatSize writes a size of at least 0 without rounding, in the largest unit that
// divides it. ParseSize reads the text.
func FormatSize(bytes int64) string {
	for _, u := range sizeUnits {
		if bytes >= u.by && bytes%u.by == 0 {
			return strconv.FormatInt(bytes/u.by, 10) + u.name
		}
	}
	return strconv.FormatInt(bytes, 10) + "B"
}

func sizeUnit(text string) (int64, bool) {
	if text == "" {
		return 1, true
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(text, u.name) || strings.EqualFold(text, strings.TrimSuffix(u.name, "B")) {
			return u.by, true
		}
	}
	return 0, false
}

// splitQuantity splits a number from its unit.
func splitQuantity(text string) (number, unit string) {
	text = strings.TrimSpace(text)
	end := strings.LastIndexAny(text, "0123456789.") + 1
	return text[:end], strings.TrimLeft(text[end:], " ")
}

// decimal tells whether text consists of digits and at most one dot.
func decimal(text string) bool {
	digits := strings.Replace(text, ".", "", 1)
	return digits != "" && len(digits) <= maxDigits && strings.Trim(digits, "0123456789") == ""
}

// ParseDuration reads a duration as time.ParseDuration does, such as "250ms",
// "90s" or "1h30m", with one more unit: "d" is a day of 24 hours and comes first,
// as in "7d" or "1d12h". Blanks may stand before and after units, as in "5 s" or
// "1h 30m". Configuration files, flags, SOCKS user names, policies
// and mammactl all read durations with it. A number without a unit is one of seconds, as
// for sleep(1) and systemd.time(7).
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a number of seconds or a duration such as 250ms, 90s, 5m or 7d", text)
	sign, rest := time.Duration(1), closeUp(text)
	switch {
	case strings.HasPrefix(rest, "-"):
		sign, rest = -1, rest[1:]
	case strings.HasPrefix(rest, "+"):
		rest = rest[1:]
	}
	var days time.Duration
	if number, after, found := strings.Cut(rest, "d"); found {
		if !decimal(number) {
			return 0, wrong
		}
		f, err := strconv.ParseFloat(number, 64)
		if f *= float64(24 * time.Hour); err != nil || f >= math.MaxInt64 {
			return 0, fmt.Errorf("%q is too long", text)
		}
		if days = time.Duration(math.Round(f)); after == "" {
			return sign * days, nil
		}
		rest = after
	} else if decimal(rest) {
		rest += "s"
	}
	d, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, wrong
	}
	if days > math.MaxInt64-d {
		return 0, fmt.Errorf("%q is too long", text)
	}
	return sign * (days + d), nil
}

// closeUp leaves out the blanks of a duration that stand between a number and a unit, or
// around it all.
func closeUp(text string) string {
	parts := strings.Fields(text)
	if len(parts) == 0 {
		return ""
	}
	for i, p := range parts[1:] {
		last := parts[i][len(parts[i])-1]
		if isDigit(last) == isDigit(p[0]) || last == '-' || last == '+' {
			return text
		}
	}
	return strings.Join(parts, "")
}

// isDigit tells whether a byte belongs to a number.
func isDigit(b byte) bool { return '0' <= b && b <= '9' || b == '.' }
