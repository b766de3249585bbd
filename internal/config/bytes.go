package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is an amount of data.
type Bytes uint64

var byteUnits = []struct {
	name string
	n    Bytes
}{
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3},
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
}

// String gives the amount exactly, in the largest unit that divides it, as
// parseBytes reads it.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b >= u.n && b%u.n == 0 {
			return strconv.FormatUint(uint64(b/u.n), 10) + u.name
		}
	}
	return strconv.FormatUint(uint64(b), 10) + "B"
}

// parseBytes reads an amount such as "5GB", "1.5 GiB" or "800MB". Units are
// decimal, as mobile contracts have them, unless they have an i.
func parseBytes(text string) (Bytes, error) {
	wrong := fmt.Errorf("must be an amount such as \"5GB\" or \"800MiB\", at least one byte, not %q", text)
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		if n, err := strconv.ParseUint(number, 10, 64); err == nil {
			if n == 0 || n > math.MaxInt64/uint64(u.n) {
				return 0, wrong
			}
			return Bytes(n) * u.n, nil
		}
		if strings.Trim(number, "0123456789.") != "" {
			return 0, wrong
		}
		f, err := strconv.ParseFloat(number, 64)
		f *= float64(u.n)
		if err != nil || f < 1 || f >= 1<<62 {
			return 0, wrong
		}
		return Bytes(f), nil
	}
	return 0, wrong
}
