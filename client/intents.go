package client

import (
	"context"
	"encoding"
	"flag"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/socket-intents/mamma/intent"
)

type intentsKey struct{}

// WithIntents returns a context that carries s for the connections that are
// dialled with it. It replaces what ctx carried.
func WithIntents(ctx context.Context, s intent.Set) context.Context {
	return context.WithValue(ctx, intentsKey{}, s)
}

// Intents returns what WithIntents put into ctx, the empty set if nothing.
func Intents(ctx context.Context) intent.Set {
	s, _ := ctx.Value(intentsKey{}).(intent.Set)
	return s
}

// ParseIntents reads intents as text: name=value pairs separated by commas, for
// instance "category=bulktransfer,filesize=300M". A value is an integer, for
// file sizes and bit rates with a suffix k, M, G, T (powers of 1000) or Ki, Mi,
// Gi, Ti (of 1024) if need be, or the name that package intent has for it. The
// empty string gives the empty set; an intent may be named once.
func ParseIntents(text string) (intent.Set, error) {
	var s intent.Set
	if strings.TrimSpace(text) == "" {
		return s, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		o, ok := optionNamed(strings.TrimSpace(name))
		if !ok {
			return intent.Set{}, fmt.Errorf("unknown intent %q; known are %s", name, strings.Join(optionNames(), ", "))
		}
		if !found {
			return intent.Set{}, fmt.Errorf("intent %q has no value", name)
		}
		if _, twice := s.Get(o); twice {
			return intent.Set{}, fmt.Errorf("intent %q is given twice", name)
		}
		v, err := parseValue(o, strings.TrimSpace(value))
		if err != nil {
			return intent.Set{}, fmt.Errorf("intent %s: %w", name, err)
		}
		s = s.With(o, v)
	}
	return s, nil
}

// FormatIntents gives the text that ParseIntents reads, by ascending number of
// the intents.
func FormatIntents(s intent.Set) string {
	var b strings.Builder
	for o, v := range s.All() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(o.String() + "=")
		if names := valueNames(o); v >= 0 && v < int64(len(names)) {
			b.WriteString(names[v])
		} else {
			b.WriteString(strconv.FormatInt(v, 10))
		}
	}
	return b.String()
}

// lastOption is the highest intent.
const lastOption = intent.OptResilience

func optionNamed(name string) (intent.Option, bool) {
	for o := intent.OptCategory; o <= lastOption; o++ {
		if strings.EqualFold(name, o.String()) {
			return o, true
		}
	}
	return 0, false
}

func optionNames() []string {
	var names []string
	for o := intent.OptCategory; o <= lastOption; o++ {
		names = append(names, o.String())
	}
	return names
}

// valueNames lists the names of o's values, by number.
func valueNames(o intent.Option) []string {
	switch o {
	case intent.OptCategory:
		return namesTo(intent.Stream)
	case intent.OptBurstiness:
		return namesTo(intent.Bulk)
	case intent.OptTimeliness:
		return namesTo(intent.BackgroundTraffic)
	case intent.OptResilience:
		return namesTo(intent.Resilient)
	}
	return nil
}

func namesTo[T interface {
	~int32
	fmt.Stringer
}](last T) []string {
	var names []string
	for v := T(0); v <= last; v++ {
		names = append(names, v.String())
	}
	return names
}

// suffixes are the powers that may follow a number.
var suffixes = []struct {
	text string
	by   int64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

func parseValue(o intent.Option, text string) (int64, error) {
	names := valueNames(o)
	for v, name := range names {
		if strings.EqualFold(text, name) {
			return int64(v), nil
		}
	}
	digits, by := text, int64(1)
	if o == intent.OptFileSize || o == intent.OptBitrate {
		for _, s := range suffixes {
			if rest, ok := strings.CutSuffix(text, s.text); ok {
				digits, by = rest, s.by
				break
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil && names != nil:
		return 0, fmt.Errorf("%q is neither a number nor one of %s", text, strings.Join(names, ", "))
	case err != nil:
		return 0, fmt.Errorf("%q is not a number", text)
	case n > math.MaxInt64/by || n < math.MinInt64/by:
		return 0, fmt.Errorf("%q is too large", text)
	}
	return n * by, nil
}

// IntentsValue is an intent.Set in its text form, for flags (flag.Value and
// pflag.Value) and for configuration (encoding.TextUnmarshaler).
type IntentsValue intent.Set

var (
	_ flag.Value               = (*IntentsValue)(nil)
	_ encoding.TextMarshaler   = IntentsValue{}
	_ encoding.TextUnmarshaler = (*IntentsValue)(nil)
)

func (v IntentsValue) String() string { return FormatIntents(intent.Set(v)) }

// Set parses text and completes it by what v holds, so that a flag may be given
// more than once.
func (v *IntentsValue) Set(text string) error {
	s, err := ParseIntents(text)
	if err != nil {
		return err
	}
	*v = IntentsValue(s.Merge(intent.Set(*v)))
	return nil
}

// Type is what pflag shows in usage texts.
func (v *IntentsValue) Type() string { return "intents" }

// MarshalText gives the text of FormatIntents.
func (v IntentsValue) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText parses text as ParseIntents does, replacing what v holds.
func (v *IntentsValue) UnmarshalText(text []byte) error {
	s, err := ParseIntents(string(text))
	if err == nil {
		*v = IntentsValue(s)
	}
	return err
}
