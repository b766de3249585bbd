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

// Config is what a policy is made from: New(Config) (Policy, error) is the
// constructor of every policy, and the symbol that a plugin exports.
type Config struct {
	// Name is the policy's name as configured.
	Name string
	// Prefixes are those usable when the policy is made. They may come and go
	// later: a Request tells what is there.
	Prefixes []*Prefix
	// Seed is for random choices, so that they differ from run to run but can
	// be repeated in tests.
	Seed uint64
	// Settings are the policy's own, in the order written.
	Settings []Setting
	// PrefixSettings are the settings that prefix and interface blocks leave to
	// the policy, whether or not a prefix matches them now.
	PrefixSettings []Setting
	// Lenient accepts unknown settings, as the original grammar does.
	Lenient bool
}

// Setting is one setting as written in the configuration.
type Setting struct {
	Name string
	// Value is the constant value as text; a list's elements stand in List instead.
	Value string
	List  []string
	// Expr is the source text of the value. Constant is false where it refers to
	// names, as in the expressions of policy "score"; then Value is "".
	Expr     string
	Constant bool
	// Block names the block that holds the setting, for errors: `policy "sample"`.
	Block  string
	File   string
	Line   int
	Column int
	// ExprLine and ExprColumn are where Expr starts.
	ExprLine, ExprColumn int
}

// Errorf makes an error that says where the setting stands.
func (s Setting) Errorf(format string, args ...any) error {
	return &SettingError{Setting: s, Err: fmt.Errorf(format, args...)}
}

// NotConstant is the error of a setting that refers to names where a constant is
// wanted; nil if it is one.
func (s Setting) NotConstant() error {
	switch {
	case s.Constant:
		return nil
	case unquoted.MatchString(s.Expr) && !reference.MatchString(s.Expr):
		return s.Errorf("%s in %s is text: put it in quotes: %q", s.Name, s.Block, s.Expr)
	}
	return s.Errorf("%s in %s must be a constant", s.Name, s.Block)
}

// unquoted is what stands for a string whose quotes were forgotten, and reference what
// looks like it and is the name of a figure in an expression.
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

// UnknownSettingError is the cause of a SettingError about a name that nobody
// knows.
type UnknownSettingError struct {
	Name, Block string
	Known       []string // names that could have been meant
	// ReadBy are the policies that know it; whoever loads policies by name may
	// fill it in.
	ReadBy []string
}

// Error lists the settings that are known.
func (e *UnknownSettingError) Error() string {
	return fmt.Sprintf("unknown setting %q in %s; known: %s", e.Name, e.Block, orNone(e.Known))
}

// Decode fills the struct that v points to from c.Settings. Fields are matched
// by the tag `mam:"name"`; "min" and "max" tags bound numbers and durations. A tag `unit:"ms"`,
// `unit:"B"` or `unit:"B/s"` has a number written as a quantity too, such as "20ms", "300M" or
// "10Mbit/s", which is given in this unit, as a number without a unit is. Supported types
// are string, bool, the integers, floats, time.Duration, []string and *T of
// those, where nil means not given. A field keeps its value where the setting is absent, so v may
// hold the defaults. Of repeated settings the last one counts. Unknown names are
// errors that list the known ones, unless c.Lenient is set. All errors found are
// returned, joined; each is a *SettingError.
func (c Config) Decode(v any) error { return decode(c.Settings, v, c.Lenient) }

// CheckPrefixes decodes each of c.PrefixSettings into a fresh copy of the struct
// that v points to, and so reports unknown names and wrong values in every
// prefix and interface block. Names in known are accepted with any number as value, or with a
// quantity of the metric's unit; policies pass there the metrics that a setting may override.
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

// decode fills v from settings; more are names that are known besides, for the
// error about one that is not.
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

// tags are what a field says of its values.
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

// setInteger sets a field that is an integer, signed or not.
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

// integer drops a fraction of zeros: the original grammar writes 3.0 as
// 3.000000 (doc/original/daemon.md 12.3).
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
