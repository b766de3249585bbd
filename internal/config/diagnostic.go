package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/socket-intents/mamma/policy"
)

// maxDiagnostics bounds the messages about one file.
const maxDiagnostics = 20

// Pos is a position in a file: the columns of a line from Column up to EndColumn,
// without the latter. Lines and columns count from 1, columns in characters. The zero
// value means no particular position.
type Pos struct {
	Line, Column, EndColumn int
}

// Diagnostic is a message about a file.
type Diagnostic struct {
	File string
	Pos
	Message string
	// Source is the line that Pos points to, "" if there is none.
	Source string
}

// String returns file, position and message, and below them the source line with carets
// under the position, without a final newline.
func (d Diagnostic) String() string {
	var b strings.Builder
	switch {
	case d.Line == 0:
		fmt.Fprintf(&b, "%s: ", d.File)
	case d.EndColumn > d.Column+1:
		fmt.Fprintf(&b, "%s:%d,%d-%d: ", d.File, d.Line, d.Column, d.EndColumn)
	default:
		fmt.Fprintf(&b, "%s:%d,%d: ", d.File, d.Line, d.Column)
	}
	b.WriteString(d.Message)
	if d.Line == 0 || d.Source == "" {
		return b.String()
	}
	line, carets := excerpt(d.Source, d.Column, d.EndColumn)
	number := fmt.Sprint(d.Line)
	fmt.Fprintf(&b, "\n    %s | %s\n    %s | %s", number, line, strings.Repeat(" ", len(number)), carets)
	return b.String()
}

// excerpt returns the part of a line that contains columns column to end, and the line
// of carets to print below it. Tabs are kept, so that the carets are in the right
// place.
func excerpt(line string, column, end int) (text, carets string) {
	const before, width = 40, 160 // so much of a long line is shown
	runes := []rune(line)
	column = min(max(column, 1), len(runes)+1)
	end = min(max(end, column+1), len(runes)+2)
	if len(runes) > width {
		first := max(0, column-1-before)
		runes = runes[first:min(len(runes), first+width)]
		column -= first
		end = min(end-first, len(runes)+1)
	}
	var b strings.Builder
	for i, r := range runes {
		if r != '\t' && !unicode.IsPrint(r) {
			runes[i] = unicode.ReplacementChar // control characters in a file must not reach the terminal
		}
		switch {
		case i >= column-1:
		case r == '\t':
			b.WriteByte('\t')
		default:
			b.WriteByte(' ')
		}
	}
	return string(runes), b.String() + strings.Repeat("^", max(1, end-column))
}

// Error holds everything that is wrong with a file.
type Error struct {
	Diagnostics []Diagnostic
	// Partial is the part of the configuration that could be read, nil if there is
	// none. It serves to look for further errors, and must not be used to run anything.
	Partial *Config
}

// Join combines e with errors that others have found in the same file. Diagnostics are
// sorted by position. Errors that are not *Error are kept unchanged. e may be nil, and
// others may contain nil.
func (e *Error) Join(others ...error) error {
	all := &Error{}
	if e != nil {
		all.Diagnostics, all.Partial = slices.Clone(e.Diagnostics), e.Partial
	}
	var rest []error
	for _, err := range others {
		var one *Error
		switch {
		case errors.As(err, &one):
			all.Diagnostics = append(all.Diagnostics, one.Diagnostics...)
		case err != nil:
			rest = append(rest, err)
		}
	}
	if len(all.Diagnostics) == 0 {
		return errors.Join(rest...)
	}
	slices.SortStableFunc(all.Diagnostics, comparePlaces)
	if len(rest) == 0 {
		return all
	}
	return errors.Join(append([]error{all}, rest...)...)
}

// comparePlaces orders by line and column. Messages without a position come last.
func comparePlaces(a, b Diagnostic) int {
	placed := func(d Diagnostic) int {
		if d.Line == 0 {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(placed(a), placed(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Diagnostics))
	for i, d := range e.Diagnostics {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// ErrorAt makes an error about pos, which shows the source line. Callers use it for
// mistakes that this package cannot find, such as an unknown name of a policy.
func (c *Config) ErrorAt(pos Pos, format string, args ...any) *Error {
	return &Error{Diagnostics: []Diagnostic{c.src.diagnostic(pos, fmt.Sprintf(format, args...))}}
}

// Explain adds source lines to each *policy.SettingError in err, and returns all of
// them as an *Error. err may be a joined error. The position is Line and Column of the
// error's Setting; a policy can set a more exact position within the setting's
// expression. If err contains no SettingError, Explain returns it unchanged.
//
// Errors that reading the file has already reported are left out. The same holds for an
// error without a position if a setting could not be read, because the policy may only
// miss this setting.
func (c *Config) Explain(err error) error {
	if se := (*policy.SettingError)(nil); !errors.As(err, &se) && !c.unread {
		return err
	}
	all := &Error{}
	c.explain(err, all)
	if len(all.Diagnostics) == 0 { // reading the file has reported all of them
		return nil
	}
	return all
}

func (c *Config) explain(err error, to *Error) {
	for e := err; e != nil; {
		switch x := e.(type) { //nolint:errorlint // walks the chain itself
		case *policy.SettingError:
			s := x.Setting
			if s.File == c.File && c.told[s.Line] {
				return
			}
			d := Diagnostic{File: s.File, Pos: Pos{Line: s.Line, Column: s.Column}, Message: x.Err.Error()}
			if u := (*policy.UnknownSettingError)(nil); errors.As(x.Err, &u) {
				d.Message = fmt.Sprintf("unknown setting %q in %s%s", u.Name, u.Block, meant(u))
			}
			if s.File == c.File {
				d = c.src.diagnostic(d.Pos, d.Message)
				d.EndColumn = d.Column + wordLength(d.Source, d.Column)
			}
			to.Diagnostics = append(to.Diagnostics, d)
			return
		case interface{ Unwrap() []error }:
			for _, one := range x.Unwrap() {
				c.explain(one, to)
			}
			return
		case interface{ Unwrap() error }:
			e = x.Unwrap()
		default:
			e = nil
		}
	}
	if !c.unread {
		to.Diagnostics = append(to.Diagnostics, Diagnostic{File: c.File, Message: err.Error()})
	}
}

// meant proposes settings that may have been meant by an unknown one.
func meant(u *policy.UnknownSettingError) string {
	const few = 12 // so many names are still readable
	near := suggestOrNone(u.Known, u.Name)
	switch {
	case strings.HasSuffix(near, "?"):
		return near
	case len(u.ReadBy) > 0:
		return "; the policy does not read it, but " + strings.Join(u.ReadBy, ", ") + " would"
	case len(u.Known) > few:
		return fmt.Sprintf("; it is none of the %d that the policy reads, which mamma-policy(7) lists", len(u.Known))
	}
	return near
}

// wordLength returns the length of the name, or of the quoted string, at a column of a
// line.
func wordLength(line string, column int) int {
	runes := []rune(line)
	if column < 1 || column > len(runes) {
		return 0
	}
	quoted := runes[column-1] == '"'
	for n, r := range runes[column-1:] {
		switch {
		case quoted && n > 0 && r == '"':
			return n + 1
		case !quoted && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r):
			return n
		}
	}
	return len(runes) - (column - 1)
}

// source is the text of a file.
type source struct {
	name string
	text []byte
}

func (s source) diagnostic(pos Pos, message string) Diagnostic {
	return Diagnostic{File: s.name, Pos: pos, Message: message, Source: s.line(pos.Line)}
}

// line gives line n, counted from 1, without its end; "" if there is none.
func (s source) line(n int) string {
	if n < 1 {
		return ""
	}
	rest := s.text
	for ; n > 1; n-- {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return ""
		}
		rest = rest[i+1:]
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.ToValidUTF8(string(bytes.TrimSuffix(line, []byte("\r"))), "\uFFFD")
}

// report collects remarks while a file is parsed.
type report struct {
	src      source
	errors   []Diagnostic
	warnings []Diagnostic
	more     int // errors beyond maxDiagnostics
	// told are lines that need no further message: the first mistake explains the
	// others.
	told map[int]bool
}

// tell is errorf for a message after which nothing more is reported about the line.
func (r *report) tell(pos Pos, format string, args ...any) {
	r.errorf(pos, format, args...)
	r.silence(pos.Line)
}

func (r *report) silence(line int) {
	if r.told == nil {
		r.told = map[int]bool{}
	}
	r.told[line] = true
}

func (r *report) errorf(pos Pos, format string, args ...any) {
	if r.told[pos.Line] {
		return
	}
	if len(r.errors) >= maxDiagnostics {
		r.more++
		return
	}
	r.errors = append(r.errors, r.src.diagnostic(pos, message(format, args)))
}

func (r *report) warnf(pos Pos, format string, args ...any) {
	if len(r.warnings) < maxDiagnostics {
		r.warnings = append(r.warnings, r.src.diagnostic(pos, message(format, args)))
	}
}

// message formats a message that may quote the file. The result is one line of bounded
// length without control characters.
func message(format string, args []any) string {
	const most = 500
	text := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return unicode.ReplacementChar
	}, fmt.Sprintf(format, args...))
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// err returns all reported errors in the order of their positions, nil if there are
// none.
func (r *report) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errors, comparePlaces)
	if r.more > 0 {
		r.errors = append(r.errors, Diagnostic{File: r.src.name, Message: fmt.Sprintf("and %d more errors", r.more)})
	}
	return &Error{Diagnostics: r.errors}
}
