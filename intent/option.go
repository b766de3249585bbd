package intent

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options holds the name of each intent, and the names of its values by their number.
// Intents whose value is a quantity have no such names. Index 0 is unused.
var options = [1 + numOptions]struct {
	name  string
	words []string
}{
	OptCategory:   {"category", []string{"query", "bulktransfer", "controltraffic", "keepalives", "stream"}},
	OptFileSize:   {name: "filesize"},
	OptDuration:   {name: "duration"},
	OptBitrate:    {name: "bitrate"},
	OptBurstiness: {"burstiness", []string{"randombursts", "regularbursts", "nobursts", "bulk"}},
	OptTimeliness: {"timeliness", []string{"streaming", "interactive", "transfer", "backgroundtraffic"}},
	OptResilience: {"resilience", []string{"sensitive", "tolerant", "resilient"}},
}

// Options lists the seven intents by ascending number.
func Options() []Option {
	list := make([]Option, numOptions)
	for i := range list {
		list[i] = Option(1 + i)
	}
	return list
}

// Valid tells whether o is one of the seven intents.
func (o Option) Valid() bool { return o >= 1 && o <= numOptions }

// String gives the lower-case name that text forms use, "intent(N)" for an
// unknown number.
func (o Option) String() string {
	if !o.Valid() {
		return "intent(" + strconv.Itoa(int(o)) + ")"
	}
	return options[o].name
}

// Words returns the names of o's values, indexed by their number. The slice is a copy
// for the caller. It is nil for intents whose value is a quantity.
func (o Option) Words() []string {
	if !o.Valid() {
		return nil
	}
	return slices.Clone(options[o].words)
}

// Word returns the name of o's value v. A number without a name gives a text such as
// "category(9)".
func (o Option) Word(v int64) string {
	if o.Valid() {
		if words := options[o].words; v >= 0 && v < int64(len(words)) {
			return words[v]
		}
	}
	return o.String() + "(" + strconv.FormatInt(v, 10) + ")"
}

// maxSeconds is the most that a time.Duration can hold.
const maxSeconds = int64(math.MaxInt64 / time.Second)

// FormatValue returns a text that ParseValue reads as v: the value's name, or
// FormatSize for a file size or bit rate that is not negative, or a number of seconds
// such as "300s" for a duration, or else the number. The units are those in the headers
// of the Socket Intents prototype; a policy may take the number for another unit.
func (o Option) FormatValue(v int64) string {
	if o.Valid() {
		if words := options[o].words; v >= 0 && v < int64(len(words)) {
			return words[v]
		}
	}
	if (o == OptFileSize || o == OptBitrate) && v >= 0 {
		return FormatSize(v)
	}
	if o == OptDuration && -maxSeconds <= v && v <= maxSeconds {
		return strconv.FormatInt(v, 10) + "s"
	}
	return strconv.FormatInt(v, 10)
}

// ParseValue reads a value of o. Every intent takes an integer, which is the raw value.
// Besides that, file sizes and bit rates take what ParseSize reads, such as "300M".
// Durations take what ParseDuration reads, such as "5m", rounded to full seconds. The
// other intents take the words of Word in any case.
func (o Option) ParseValue(text string) (int64, error) {
	if !o.Valid() {
		return 0, fmt.Errorf("no %v is known", o)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	} else if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%q is too large", text)
	}
	switch o {
	case OptFileSize, OptBitrate:
		positive, negative := strings.CutPrefix(text, "-")
		n, err := ParseSize(positive)
		if err != nil {
			return 0, err
		}
		if negative {
			n = -n
		}
		return n, nil
	case OptDuration:
		d, err := ParseDuration(text)
		if err != nil {
			return 0, err
		}
		return int64(math.Round(d.Seconds())), nil
	}
	words := options[o].words
	for v, word := range words {
		if strings.EqualFold(text, word) {
			return int64(v), nil
		}
	}
	if number, ok := strings.CutPrefix(text, o.String()+"("); ok {
		if n, err := strconv.ParseInt(strings.TrimSuffix(number, ")"), 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q is neither a number nor one of %s", text, strings.Join(words, ", "))
}

// ParseOption reads the name of an intent, whatever its case.
func ParseOption(name string) (Option, error) {
	var known []string
	for _, o := range Options() {
		if strings.EqualFold(name, o.String()) {
			return o, nil
		}
		known = append(known, o.String())
	}
	return 0, fmt.Errorf("unknown intent %q; known are %s", name, strings.Join(known, ", "))
}
