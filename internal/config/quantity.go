package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Bytes is an amount of data.
type Bytes uint64

// String writes the amount without rounding, in the largest unit that divides it.
// parseBytes reads the text.
func (b Bytes) String() string { return intent.FormatSize(int64(min(b, math.MaxInt64))) }

// minBudget is the least that anybody means. An author who writes 5 does not mean five
// bytes.
const minBudget Bytes = 1000

// parseBytes reads an amount as intent.ParseSize does.
func parseBytes(text string) (Bytes, error) {
	n, err := intent.ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("must be an amount such as \"5GB\" or \"800MiB\", not %q", text)
	}
	return Bytes(n), nil
}

// amount makes a function that reads an amount of at least that many bytes.
func amount(least Bytes, example string) func(string) (Bytes, error) {
	return func(text string) (Bytes, error) {
		n, err := parseBytes(text)
		if err == nil && n < least {
			err = fmt.Errorf("must be at least %v, not %v%s", least, n, ifBare(text, "bytes", example))
		}
		return n, err
	}
}

// Share is a part of a whole: 0.01 is one hundredth.
type Share float64

// String writes the share in percent.
func (s Share) String() string { return strconv.FormatFloat(100*float64(s), 'g', -1, 32) + "%" }

// parseCPU reads a share of one processor from MinCPU to all of it.
func parseCPU(text string) (Share, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	switch {
	case !ok || err != nil:
		return 0, fmt.Errorf("must be a share of one processor such as %q, not %q", DefaultCPU, text)
	case !(percent >= 100*float64(MinCPU) && percent <= 100): // NaN is neither
		return 0, fmt.Errorf("must be between %v and 100%%, not %s", MinCPU, text)
	}
	return Share(percent / 100), nil
}

// duration makes a function that reads a duration from low to high.
func duration(low, high time.Duration, example string) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := intent.ParseDuration(text)
		switch {
		case err != nil:
			return 0, fmt.Errorf("must be a duration such as %q, not %q", example, text)
		case d < low || d > high:
			return 0, fmt.Errorf("must be between %v and %v, not %v%s", low, high, d, ifBare(text, "seconds", example))
		}
		return d, nil
	}
}

// positive reads a duration above 0.
func positive(text string) (time.Duration, error) {
	d, err := intent.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("must be a duration such as \"30s\" or \"2h\", not %q", text)
	}
	return d, nil
}

// ifBare is the part of an error message about a number without a unit. It says how the
// number was read.
func ifBare(text, unit, example string) string {
	if strings.Trim(text, "+-0123456789.") != "" {
		return ""
	}
	return fmt.Sprintf(": a number without a unit means %s; with its unit it is written %q", unit, example)
}
