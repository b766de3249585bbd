package config

import (
	"fmt"
	"math"
	"strings"

	"github.com/socket-intents/mamma/intent"
)

// Bytes is an amount of data.
type Bytes uint64

// String gives the amount exactly, in the largest unit that divides it, as
// parseBytes reads it.
func (b Bytes) String() string { return intent.FormatSize(int64(min(b, math.MaxInt64))) }

// parseBytes reads an amount as intent.ParseSize does. Here it must have a unit:
// who writes 5 does not mean five bytes.
func parseBytes(text string) (Bytes, error) {
	n, err := intent.ParseSize(text)
	if err != nil || n < 1 || strings.Trim(text, "0123456789. ") == "" {
		return 0, fmt.Errorf("must be an amount such as \"5GB\" or \"800MiB\", at least one byte, not %q", text)
	}
	return Bytes(n), nil
}
