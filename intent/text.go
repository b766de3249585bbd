package intent

import (
	"context"
	"fmt"
	"strings"
)

// Parse reads intents from text: name=value pairs separated by commas, for instance
// "category=bulktransfer,filesize=300M". ParseOption reads the names and
// Option.ParseValue the values. The empty text gives the empty Set. Naming an intent
// twice is an error.
func Parse(text string) (Set, error) {
	var s Set
	if strings.TrimSpace(text) == "" {
		return s, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		o, err := ParseOption(name)
		if err != nil {
			return Set{}, err
		}
		if !found {
			return Set{}, fmt.Errorf("intent %q has no value", name)
		}
		if _, twice := s.Get(o); twice {
			return Set{}, fmt.Errorf("intent %q is given twice", name)
		}
		v, err := o.ParseValue(strings.TrimSpace(value))
		if err != nil {
			return Set{}, fmt.Errorf("intent %v: %w", o, err)
		}
		s = s.With(o, v)
	}
	return s, nil
}

// String returns the text that Parse reads, with the intents in ascending order of
// number; "" for the empty Set.
func (s Set) String() string {
	text, _ := s.AppendText(nil)
	return string(text)
}

// AppendText appends the text of String to b (encoding.TextAppender). The error
// is always nil.
func (s Set) AppendText(b []byte) ([]byte, error) {
	first := true
	for o, v := range s.All() {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, o.String()...)
		b = append(b, '=')
		b = append(b, o.FormatValue(v)...)
	}
	return b, nil
}

// MarshalText gives the text of String (encoding.TextMarshaler), for JSON and
// flag.TextVar. The error is always nil.
func (s Set) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText replaces s by what Parse reads (encoding.TextUnmarshaler). An
// error leaves s as it was.
func (s *Set) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*s = parsed
	}
	return err
}

// Set parses text, and completes the result by the intents that s already has. With
// this method *Set is a flag.Value whose flag may be given several times; with Type it
// is one for spf13/pflag, too. An error leaves s as it was.
func (s *Set) Set(text string) error {
	parsed, err := Parse(text)
	if err == nil {
		*s = parsed.Merge(*s)
	}
	return err
}

// Type is what pflag shows in usage texts.
func (s *Set) Type() string { return "intents" }

// contextKey is the key of a context's Set.
type contextKey struct{}

// NewContext returns a context that carries s for the connections that are
// dialled with it. It replaces what ctx carried.
func NewContext(ctx context.Context, s Set) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// FromContext returns the Set that NewContext put into ctx, or the empty Set.
func FromContext(ctx context.Context) Set {
	s, _ := ctx.Value(contextKey{}).(Set)
	return s
}
