package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/pflag"
)

// Suggest returns the end of a message about an unknown name: `; did you mean "x"?` if
// a known name is similar, else a list of all known names, else "".
func Suggest(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return `; did you mean "` + best + `"?`
	}
	if len(known) == 0 {
		return ""
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return "; known: " + strings.Join(known, ", ")
}

// nearest returns the known name that an unknown one was probably meant to be, "" if
// none is similar.
func nearest(name string, known []string) string {
	if len(name) > 64 { // the cost of distance is quadratic, and none of our names is that long
		return ""
	}
	// A third of the letters may be wrong, as in "namserver" or "rout".
	best, limit := "", max(1, len(name)/3)
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(name), k, nil); d <= limit {
			best, limit = k, d-1
		}
	}
	if best == "" {
		best = completion(name, known)
	}
	return best
}

// completion returns the only known name that begins with a shorter name; "" if there
// is none, or more than one.
func completion(name string, known []string) string {
	const least = 4 // fewer letters say nothing
	found := ""
	for _, k := range known {
		switch {
		case len(name) < least || !strings.HasPrefix(k, strings.ToLower(name)):
		case found != "":
			return ""
		default:
			found = k
		}
	}
	return found
}

// suggestOrNone is Suggest for lists of names that may be empty.
func suggestOrNone(known []string, name string) string {
	if len(known) == 0 {
		return "; known: none"
	}
	return Suggest(name, known)
}

// SuggestFlag adds to the error about an unknown flag which flag was probably meant, and
// says what a flag needs that lacks its value. Other errors stay unchanged.
func SuggestFlag(err error, flags *pflag.FlagSet) error {
	if lacks, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		f := lacks.GetFlag()
		what, _ := pflag.UnquoteUsage(f)
		return &flagError{err, fmt.Sprintf("--%s needs a value: --%s %s", f.Name, f.Name, strings.ToUpper(what))}
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	name := unknown.GetSpecifiedName()
	if near := beginning("--"+name, names); len(name) == 1 && len(near) > 0 {
		return fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	return fmt.Errorf("%w%s", err, Suggest("--"+name, names))
}

// flagError is an error of package pflag in other words.
type flagError struct {
	err  error
	text string
}

func (e *flagError) Error() string { return e.text }
func (e *flagError) Unwrap() error { return e.err }

// beginning returns the names that begin with a text.
func beginning(text string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, text) })
}
