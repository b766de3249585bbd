// Package table fits text into the cells of a terminal. A character takes no cell, one
// or two, so neither the number of bytes nor that of characters tells how wide a text
// is. A Table aligns columns, and leaves out the least important ones if the terminal
// is too narrow.
package table

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// condition returns the rules for the width of characters, which are the same in every
// locale. Characters that Unicode calls ambiguous (Unicode Standard Annex 11), such as
// the blocks of a bar, take one cell, as in today's terminals.
func condition() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// ends is the last character of a text that was cut.
const ends = "…"

// Cells returns how many cells of a terminal a text takes. The text must not have
// control characters.
func Cells(text string) int { return condition().StringWidth(text) }

// Cut shortens a text to at most n cells. The last cell of a shortened text is an
// ellipsis.
func Cut(text string, n int) string {
	switch {
	case n <= 0:
		return ""
	case n == 1 && Cells(text) > 1:
		return ends
	}
	return condition().Truncate(text, n, ends)
}

// Pad appends blanks to a text until it takes n cells.
func Pad(text string, n int) string { return text + blanks(n-Cells(text)) }

// PadLeft puts blanks before a text until it takes n cells.
func PadLeft(text string, n int) string { return blanks(n-Cells(text)) + text }

func blanks(n int) string { return strings.Repeat(" ", max(n, 0)) }

// Fold breaks a text at blanks into lines of at most n cells. If n is 0, the result is
// one line. A word that is longer than a line is broken too, so nothing is lost. Blanks
// at the beginning of the text are repeated at the beginning of each line.
func Fold(text string, n int) []string {
	if n <= 0 || Cells(text) <= n {
		return []string{text}
	}
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	if len(indent) >= n {
		indent = ""
	}
	var lines []string
	line, used := indent, len(indent)
	for _, word := range strings.Fields(text) {
		width := Cells(word)
		if begun := used > len(indent); begun && used+1+width <= n {
			line, used = line+" "+word, used+1+width
			continue
		} else if begun {
			lines = append(lines, line)
		}
		line, used = indent+word, len(indent)+width
		for used > n {
			head := part(line, n)
			lines = append(lines, head)
			line = indent + line[len(head):]
			used = Cells(line)
		}
	}
	if used > len(indent) || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// part returns as much of the beginning of text as fits n cells, but at least one
// character.
func part(text string, n int) string {
	used := 0
	for i, r := range text {
		w := condition().RuneWidth(r)
		if used+w > n && strings.TrimLeft(text[:i], " ") != "" {
			return text[:i]
		}
		used += w
	}
	return text
}
