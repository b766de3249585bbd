package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/pflag"
)

// Suggest completes a message about an unknown name: it gives `; did you mean
// "x"?` if one of the known names is near, else a list of them all, else "".
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

// nearest is the known name that an unknown one was probably meant to be, "" if none is
// near.
func nearest(name string, known []string) string {
	if len(name) > 64 { // distance is quadratic, and no name of ours is near
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

// completion is the one known name that a shorter name begins; "" if there is none, or
// more than one.
func completion(name string, known []string) string {
	const least = 4 // letters, which say something
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

// suggestOrNone is Suggest for names of which there may be none at all.
func suggestOrNone(known []string, name string) string {
	if len(known) == 0 {
		return "; known: none"
	}
	return Suggest(name, known)
}

// SuggestFlag adds to the error of an unknown flag of a program which of its flags was
// probably meant. Other errors stay as they are.
func SuggestFlag(err error, flags *pflag.FlagSet) error {
	unknown := (*pflag.NotExistError)(nil)
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return fmt.Errorf("%w%s", err, Suggest("--"+unknown.GetSpecifiedName(), names))
}
