// Package display makes text that comes from outside fit for a terminal, for a log and
// for a shell. Interfaces, programs, hosts, name servers and policies choose their own
// names. Control characters in such a name could move the cursor, change the title of
// the window or hide what comes next. In a proposed shell command, a name could act as
// a command.
package display

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// bad takes the place of a character that is not shown.
const bad = '?'

// Clean makes s fit for one line of a terminal. A question mark takes the place of each
// character that is not printable by [unicode.IsPrint], and of each byte that is not
// UTF-8. Letters, marks, digits, punctuation, symbols and the ASCII space are
// printable. Line ends are not, nor are characters that change the direction of text.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return bad
		}
		return r
	}, s)
}

// CleanLines is Clean for text of several lines. A tab becomes four spaces.
func CleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = Clean(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// JSON replaces each unprintable character of a JSON text by an escape (RFC 8259
// section 7). The text keeps its meaning and becomes fit for a terminal. A byte that is
// not UTF-8 becomes a question mark.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, bad)
		case r < utf8.RuneSelf && r >= ' ' && r != 0x7f, r == '\n', r == '\t', unicode.IsPrint(r):
			out = append(out, text[:n]...)
		default:
			out = appendEscape(out, r)
		}
		text = text[n:]
	}
	return out
}

func appendEscape(out []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	unit := func(u rune) {
		out = append(out, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	if r > 0xffff { // a surrogate pair
		r -= 0x10000
		unit(0xd800 + r>>10)
		unit(0xdc00 + r&0x3ff)
		return out
	}
	unit(r)
	return out
}

// JSONWriter passes JSON texts on to w through [JSON]. Each Write must hold whole
// characters, as the writes of encoding/json and log/slog do.
func JSONWriter(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ to io.Writer }

func (w jsonWriter) Write(b []byte) (int, error) {
	if _, err := w.to.Write(JSON(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ShellQuote returns a word of a POSIX shell that means s itself, with quotes only if s
// needs them. A quoted word may still be unfit for a terminal, so clean the command
// before it is shown. If that changes a word, the word no longer names the same thing,
// but it does no harm.
func ShellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%_+:,./-", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	// Within single quotes, every character but the single quote means itself
	// (POSIX.1-2024, Shell Command Language, 2.2.2).
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
