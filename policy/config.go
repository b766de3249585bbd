package policy

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/socket-intents/mamma/intent"
)

// Config is what a policy is made from. Every policy has a constructor New(Config)
// (Policy, error), which is also the symbol that a plugin exports.
type Config struct {
	// Name is the policy's name as configured.
	Name string
	// Prefixes are the prefixes that are usable when the policy is made. Prefixes come
	// and go later; each Request has the current ones.
	Prefixes []*Prefix
	// Seed is the seed for random choices. It differs from run to run, and tests can
	// set it to repeat a run.
	Seed uint64
	// Settings are those of the policy block, in the order in which they were written.
	Settings []Setting
	// PrefixSettings are the settings in prefix and interface blocks that the manager
	// itself does not know. They are here whether or not a prefix matches the block
	// now.
	PrefixSettings []Setting
	// Lenient means that unknown settings are accepted, as in configurations of the
	// Socket Intents prototype.
	Lenient bool
}

// Setting is one setting as written in the configuration.
type Setting struct {
	Name string
	// Value is the text of a constant value. For a list it is empty, and List has the
	// elements.
	Value string
	List  []string
	// Expr is the source text of the value. If it refers to names, as expressions of
	// the policy "score" do, Constant is false and Value is "".
	Expr     string
	Constant bool
	// Block names the block that contains the setting, for error messages: `policy
	// "sample"`.
	Block  string
	File   string
	Line   int
	Column int
	// ExprLine and ExprColumn are the position where Expr starts.
	ExprLine, ExprColumn int
}

// Errorf makes an error that says where the setting stands.
func (s Setting) Errorf(format string, args ...any) error {
	return &SettingError{Setting: s, Err: fmt.Errorf(format, args...)}
}

// NotConstant returns an error if the setting refers to names although a constant is
// needed. It returns nil if the setting is constant.
func (s Setting) NotConstant() error {
	switch {
	case s.Constant:
		return nil
	case unquoted.MatchString(s.Expr) && !reference.MatchString(s.Expr):
		return s.Errorf("%s in %s is text: put it in quotes: %q", s.Name, s.Block, s.Expr)
	}
	return s.Errorf("%s in %s must be a constant", s.Name, s.Block)
}

// unquoted matches a string whose quotes were forgotten. reference matches texts that
// look the same but name a figure in an expression.
var (
	unquoted  = regexp.MustCompile(`^[\pL\pN_/.~][\pL\pN_/.:@%+~,=-]*$`)
	reference = regexp.MustCompile(`^(intent|link|lowest_rtt|prefix|request)\.`)
)

// SettingError says which setting is wrong and why.
type SettingError struct {
	Setting Setting
	Err     error
}

// Error begins with file, line and column.
func (e *SettingError) Error() string {
	return fmt.Sprintf("%s:%d,%d: %v", e.Setting.File, e.Setting.Line, e.Setting.Column, e.Err)
}

// Unwrap gives the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// UnknownSettingError is the cause of a SettingError for a setting that the policy does
// not know.
type UnknownSettingError struct {
	Name, Block string
	Known       []string // names that the user could have meant
	// ReadBy are other policies that know the setting. The program fills it in if it
	// knows other policies.
	ReadBy []string
}

// Error lists the settings that are known.
func (e *UnknownSettingError) Error() string {
	return fmt.Sprintf("unknown setting %q in %s; known: %s", e.Name, e.Block, orNone(e.Known))
}

// Decode fills the struct that v points to from c.Settings. A setting belongs to the
// field with the tag `mam:"name"`. The types string, bool, integers, floats,
// time.Duration, []string and *T of these are supported; for *T, nil means that the
// setting is absent.
//
// A field keeps its value if the setting is absent, so v may hold defaults. The last of
// repeated settings counts. The tags "min" and "max" bound numbers and durations. With
// a tag `unit:"ms"`, `unit:"B"` or `unit:"B/s"` a number may also be written as a
// quantity, such as "20ms", "300M" or "10Mbit/s". The field then gets the number in the
// unit of the tag, which is also the unit of a number written without one.
//
// Unknown names are errors that list the known ones, unless c.Lenient is set. Decode
// returns all errors, joined; each is a *SettingError.
func (c Config) Decode(v any) error { return decode(c.Settings, v, c.Lenient) }

// CheckPrefixes checks c.PrefixSettings: it decodes each of them into a fresh copy of
// the struct that v points to. So it reports unknown names and wrong values in every
// prefix and interface block. A name in known is accepted with any number, or with a
// quantity in the metric's unit. Policies pass as known the metrics that a setting may
// override.
func (c Config) CheckPrefixes(v any, known ...string) error {
	var errs []error
	for _, s := range c.PrefixSettings {
		if slices.Contains(known, s.Name) {
			symbol := ""
			if m, ok := ParseMetric(s.Name); ok {
				symbol = m.Symbol()
			}
			if err := s.NotConstant(); err != nil {
				errs = append(errs, err)
			} else if _, err := numberIn(s.Value, symbol); err != nil {
				errs = append(errs, s.Errorf("%s in %s %w", s.Name, s.Block, err))
			}
			continue
		}
		fresh := reflect.New(reflect.TypeOf(v).Elem())
		if err := decode([]Setting{s}, fresh.Interface(), c.Lenient, known...); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// decode fills v from settings. The names in more are known elsewhere; only the error
// about an unknown name lists them.
func decode(settings []Setting, v any, lenient bool, more ...string) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.Elem().Kind() != reflect.Struct {
		panic("policy: Decode wants a pointer to a struct, not " + rv.Type().String())
	}
	rv = rv.Elem()
	fields := map[string]int{}
	var names []string
	for i := range rv.NumField() {
		if name := rv.Type().Field(i).Tag.Get("mam"); name != "" {
			fields[name] = i
			names = append(names, name)
		}
	}
	names = append(names, more...)
	slices.Sort(names)
	var errs []error
	for _, s := range settings {
		i, ok := fields[s.Name]
		if !ok {
			if !lenient {
				errs = append(errs, &SettingError{s, &UnknownSettingError{Name: s.Name, Block: s.Block, Known: names}})
			}
			continue
		}
		if err := s.NotConstant(); err != nil {
			errs = append(errs, err)
			continue
		}
		f := rv.Type().Field(i)
		if err := set(rv.Field(i), s, tags{f.Tag.Get("min"), f.Tag.Get("max"), f.Tag.Get("unit")}); err != nil {
			errs = append(errs, s.Errorf("%s in %s %w", s.Name, s.Block, err))
		}
	}
	return errors.Join(errs...)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

var durationType = reflect.TypeFor[time.Duration]()

// tags are the tags of a field that describe its values.
type tags struct{ min, max, unit string }

func set(f reflect.Value, s Setting, t tags) error {
	if f.Kind() == reflect.Pointer {
		v := reflect.New(f.Type().Elem())
		if err := set(v.Elem(), s, t); err != nil {
			return err
		}
		f.Set(v)
		return nil
	}
	if s.List != nil && f.Kind() != reflect.Slice {
		return errors.New("must be a single value, not a list")
	}
	if f.Type() == durationType {
		d, err := intent.ParseDuration(s.Value)
		if err != nil {
			return fmt.Errorf("must be a duration such as \"250ms\", not %q", s.Value)
		}
		if err := durationInRange(d, t.min, t.max); err != nil {
			return err
		}
		f.SetInt(int64(d))
		return nil
	}
	switch {
	case f.Kind() == reflect.String:
		f.SetString(s.Value)
	case f.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(s.Value)
		if err != nil {
			return fmt.Errorf("must be true or false, not %q", s.Value)
		}
		f.SetBool(b)
	case f.CanInt(), f.CanUint():
		return setInteger(f, s, t)
	case f.CanFloat():
		n, err := numberIn(s.Value, t.unit)
		if err != nil {
			return err
		}
		if err := inRange(n, t.min, t.max); err != nil {
			return err
		}
		f.SetFloat(n)
	case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String:
		list := s.List
		if list == nil {
			list = []string{s.Value}
		}
		f.Set(reflect.ValueOf(slices.Clone(list)))
	default:
		panic("policy: cannot decode into " + f.Type().String())
	}
	return nil
}

// setInteger sets a field of a signed or unsigned integer type.
func setInteger(f reflect.Value, s Setting, t tags) error {
	text := integer(s.Value)
	if _, plain := strconv.ParseFloat(text, 64); plain != nil && t.unit != "" {
		n, err := numberIn(text, t.unit)
		if err != nil {
			return err
		}
		text = strconv.FormatFloat(n, 'f', -1, 64)
	}
	if f.CanInt() {
		n, err := strconv.ParseInt(text, 10, f.Type().Bits())
		if err != nil {
			return fmt.Errorf("must be an integer, not %q", s.Value)
		}
		if err := inRange(float64(n), t.min, t.max); err != nil {
			return err
		}
		f.SetInt(n)
		return nil
	}
	n, err := strconv.ParseUint(text, 10, f.Type().Bits())
	if err != nil {
		return fmt.Errorf("must be an integer of at least 0, not %q", s.Value)
	}
	if err := inRange(float64(n), t.min, t.max); err != nil {
		return err
	}
	f.SetUint(n)
	return nil
}

// integer drops a fraction that consists of zeros, because the original's grammar
// writes 3.0 as 3.000000 (doc/original/daemon.md 12.3).
func integer(text string) string {
	if whole, fraction, ok := strings.Cut(text, "."); ok && strings.Trim(fraction, "0") == "" {
		return whole
	}
	return text
}

func durationInRange(d time.Duration, minTag, maxTag string) error {
	if low, err := time.ParseDuration(minTag); err == nil && d < low {
		return fmt.Errorf("must be at least %v, not %v", low, d)
	}
	if high, err := time.ParseDuration(maxTag); err == nil && d > high {
		return fmt.Errorf("must be at most %v, not %v", high, d)
	}
	return nil
}

func inRange(n float64, minTag, maxTag string) error {
	low, errLow := strconv.ParseFloat(minTag, 64)
	high, errHigh := strconv.ParseFloat(maxTag, 64)
	switch {
	case errLow == nil && errHigh == nil && (n < low || n > high):
		return fmt.Errorf("must be between %s and %s, not %v", minTag, maxTag, n)
	case errLow == nil && n < low:
		return fmt.Errorf("must be at least %s, not %v", minTag, n)
	case errHigh == nil && n > high:
		return fmt.Errorf("must be at most %s, not %v", maxTag, n)
	}
	return nil
}
