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

// FormatValue returns a text that ParseValue reads as v: the value's name, or
// FormatSize for a file size that is not negative, or else the number. A bit rate or a
// duration has no unit there, as only its readers know whether it is one of bits or
// bytes, or of seconds or milliseconds. A bit rate may have a factor, such as "4M".
func (o Option) FormatValue(v int64) string {
	if o.Valid() {
		if words := options[o].words; v >= 0 && v < int64(len(words)) {
			return words[v]
		}
	}
	switch {
	case v < 0:
	case o == OptFileSize:
		return FormatSize(v)
	case o == OptBitrate:
		return strings.TrimSuffix(FormatSize(v), "B")
	}
	return strconv.FormatInt(v, 10)
}

// ParseValue reads a value of o. Every intent takes an integer, which is the raw value.
// Besides that, file sizes and bit rates take what ParseSize reads, such as "300M".
// Durations take what ParseDuration reads, such as "5m", if that is a number of full
// seconds and not written in milliseconds, which are the unit of the video policies. The
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
		return o.parseAmount(text)
	case OptDuration:
		return parseSeconds(text)
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

// parseAmount reads a file size or a bit rate.
func (o Option) parseAmount(text string) (int64, error) {
	positive, negative := strings.CutPrefix(text, "-")
	n, err := ParseSize(positive)
	switch {
	case err == nil && negative:
		return -n, nil
	case err == nil || o == OptFileSize:
		return n, err
	}
	if rate, wrong := ParseRate(positive); wrong == nil {
		bits := Option.FormatValue(OptBitrate, int64(math.Round(min(rate*8, math.MaxInt64/2))))
		return 0, fmt.Errorf("%q has a unit, which this intent does not have: write a number, such as %s if it is read in bits per second, as the policies of mamma do", text, bits)
	}
	return 0, fmt.Errorf("%q is not a number such as 10000000 or 10M; the policies of mamma read it in bits per second", text)
}

// parseSeconds reads a duration that is a number of full seconds.
func parseSeconds(text string) (int64, error) {
	d, err := ParseDuration(text)
	switch {
	case err != nil:
		return 0, err
	case d%time.Second != 0 || strings.HasSuffix(text, "ms"):
		return 0, fmt.Errorf("%q is not in full seconds, the unit of this intent: write a number of them, or one of milliseconds without unit, such as %d, if a video policy reads it", text, d.Milliseconds())
	}
	return int64(d / time.Second), nil
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
