package config

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/agext/levenshtein"

	"github.com/socket-intents/mamma/policy"
)

// Off is the value that switches off a path of the original's.
const Off = "off"

// ours takes the daemon's settings out of a policy block. They are paths that were
// fixed in the original, so that its grammar has no settings for them. The remaining
// settings belong to the policy. In the original, all settings of the block did.
func (p *original) ours(settings []policy.Setting) (rest []policy.Setting) {
	c := p.c
	c.CompatSocket, c.CompatAssumed = OriginalSocket, true
	for _, s := range settings {
		to, parse := (*string)(nil), parsePath
		switch s.Name {
		case "compat_socket":
			to, parse, c.CompatAssumed = &c.CompatSocket, parseSocketPath, false
		case "compat_fifo":
			to = &c.CompatFIFO
		case "log_prefixes":
			to = &c.Logs.Prefixes
		case "log_interfaces":
			to = &c.Logs.Interfaces
		default:
			rest = append(rest, s)
			continue
		}
		if *to = ""; s.Value == Off {
			continue
		}
		var err error
		at := spot(s.ExprLine, s.ExprColumn, s.Expr)
		if *to, err = parse(s.Value); err != nil {
			p.errorf(at, "%s in %s %v", s.Name, s.Block, err)
		} else if switchLike(s.Value) {
			p.warnf(at, "%s in %s is a path, or %s: with this one the file is called %q", s.Name, s.Block, Off, s.Value)
		}
	}
	return rest
}

// switchLike tells whether a value was probably meant as a switch. Such a value is a
// number, or a word like those that "enabled" and "default" accept in that grammar.
func switchLike(value string) bool {
	switch strings.ToLower(value) {
	case "on", "yes", "no", "true", "false":
		return true
	}
	return strings.Trim(value, "0123456789") == ""
}

// paths are the settings that ours takes out.
var paths = []string{"compat_socket", "compat_fifo", "log_prefixes", "log_interfaces"}

// mistyped returns the one of paths that a name was probably meant to be. The name may
// differ by a letter or two, or by two letters that changed places.
func mistyped(name string) (meant string, ok bool) {
	if len(name) > 32 { // the cost of distance is quadratic
		return "", false
	}
	best := 3
	for _, known := range paths {
		if d := levenshtein.Distance(strings.ToLower(name), known, nil); d > 0 && d < best {
			meant, best = known, d
		}
	}
	return meant, meant != ""
}

// foreign warns about settings that the daemon knows elsewhere. Here they go to the
// policy, which ignores what it does not know.
func (p *original) foreign(settings []policy.Setting, ofPrefix bool) {
	h := &hclFile{c: p.c}
	elsewhere := h.fileSettings()
	for name := range h.groups() {
		elsewhere[name] = nil
	}
	if ofPrefix {
		maps.Copy(elsewhere, h.networkSettings(&Block{}))
		elsewhere["log_prefixes"], elsewhere["log_interfaces"] = nil, nil
	}
	for _, s := range settings {
		if _, ok := elsewhere[s.Name]; !ok {
			if meant, ok := mistyped(s.Name); ok {
				p.warnf(spot(s.Line, s.Column, s.Name), "%s in %s has no effect but on a policy that reads it; did you mean %q?", s.Name, s.Block, meant)
			}
			continue
		}
		where := "it is a setting of the HCL form, see mamma --convert"
		if slices.Contains(paths, s.Name) {
			where = "it belongs into the policy block"
		}
		p.warnf(spot(s.Line, s.Column, s.Name), "%s in %s has no effect but on a policy that reads it; %s", s.Name, s.Block, where)
	}
}

// spot returns the position of a text, or of its first line if it has several.
func spot(line, column int, text string) Pos {
	first, _, _ := strings.Cut(text, "\n")
	return Pos{Line: line, Column: column, EndColumn: column + utf8.RuneCountInString(first)}
}
