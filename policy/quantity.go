package policy

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// quantities are the units that a setting may have, by symbol. The symbol is that of a
// metric, or in the tag "unit" of a field. A number without a unit has the same unit.
var quantities = map[string]string{
	"ms":  `a number of milliseconds, or a duration such as "20ms"`,
	"B":   `a number of bytes, or an amount such as "300M"`,
	"B/s": `a number of bytes per second, or a rate such as "10Mbit/s" or "1.25MB/s"`,
}

// readNumber reads the text of a setting that is a number. If the text has a unit,
// symbol is the unit of the returned number.
func readNumber(text string) (n float64, symbol string, ok bool) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(n, 0) && !math.IsNaN(n) {
		return n, "", true
	}
	d, noDuration := intent.ParseDuration(text)
	size, noSize := intent.ParseSize(text)
	switch {
	case noDuration == nil && noSize == nil: // "5m" could mean minutes or million bytes
		return 0, "", false
	case noDuration == nil:
		return float64(d) / float64(time.Millisecond), "ms", true
	case noSize == nil:
		return float64(size), "B", true
	}
	if rate, err := intent.ParseRate(text); err == nil {
		return rate, "B/s", true
	}
	return 0, "", false
}

// numberIn reads a setting that is a number in the unit with that symbol. If quantities
// lacks the unit, it accepts only numbers without one.
func numberIn(text, symbol string) (float64, error) {
	n, given, ok := readNumber(text)
	what, hasUnit := quantities[symbol]
	switch {
	case ok && (given == "" || hasUnit && given == symbol):
		return n, nil
	case !hasUnit && symbol != "":
		return 0, fmt.Errorf("must be a number (%s), not %q", symbol, text)
	case !hasUnit:
		return 0, fmt.Errorf("must be a number, not %q", text)
	case ok:
		kind := map[string]string{"ms": "a duration", "B": "an amount of data", "B/s": "a rate"}[given]
		return 0, fmt.Errorf("must be %s; %q is %s", what, text, kind)
	}
	return 0, fmt.Errorf("must be %s, not %q", what, text)
}
