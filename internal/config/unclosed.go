package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// closers are characters after a text that do not belong to it if its final quote is
// missing.
const closers = " \t\r,;)]}{"

// unclosed reports quotes that have no counterpart on their line, and overwrites the
// texts that begin there. For HCL such a text would go on until the next quote
// anywhere.
func (m *mender) unclosed() {
	for range maxDiagnostics {
		at := m.openQuote()
		if at < 0 {
			return
		}
		first := m.tokens[at]
		begin, line := first.Range.Start.Byte, first.Range.Start.Line
		for i := at; i >= 0 && m.tokens[i].Range.Start.Line == line; i-- {
			if m.tokens[i].Type == hclsyntax.TokenOQuote {
				first, begin = m.tokens[i], m.tokens[i].Range.Start.Byte
			}
		}
		rest := m.out[begin:]
		if n := bytes.IndexByte(rest, '\n'); n >= 0 {
			rest = rest[:n]
		}
		text := strings.TrimRight(string(rest), closers)
		pos := position(first.Range)
		m.tell(pos, "%s", unclosedProblem(text))
		m.words[begin] = word{text, pos}
		m.overwrite(begin, begin+len(text), 'q')
		m.tokens, _ = hclsyntax.LexConfig(m.out, m.src.name, hcl.InitialPos)
	}
}

// openQuote returns the token of the first quote that is not closed on its line; -1 if
// there is none.
func (m *mender) openQuote() int {
	var open []int
	for i, t := range m.tokens {
		switch t.Type {
		case hclsyntax.TokenOQuote:
			open = append(open, i)
		case hclsyntax.TokenCQuote:
			open = open[:max(0, len(open)-1)]
		case hclsyntax.TokenQuotedNewline, hclsyntax.TokenEOF:
			if len(open) > 0 {
				return open[len(open)-1]
			}
		}
	}
	return -1
}

// unclosedProblem says what is wrong with the rest of a line that has a quote too few.
func unclosedProblem(rest string) string {
	if quotes := strings.Count(rest, `"`); quotes > 1 {
		return fmt.Sprintf("a quote is missing: this line has %d of them, and a text ends in the line in which it begins", quotes)
	}
	text := closedText(rest[1:])
	if text == "" {
		return "a quote is missing: the one that begins this text, or the one that ends it"
	}
	return fmt.Sprintf("the quote that closes this text is missing: %q", text)
}

// closedText returns the text whose closing quote is missing: the rest of its line
// without a comment and without characters that do not belong to it.
func closedText(rest string) string {
	inside, _, _ := strings.Cut(rest, " #")
	return strings.TrimRight(inside, closers)
}

// openText is a text of the original grammar that does not end on its line.
type openText struct {
	pos     Pos
	problem string
}

// closeQuotes closes texts of the original grammar that do not end on their line, as many
// as there may be messages. That grammar has texts of several lines, so this is meant for
// files that are wrong as they are. closed is src if there are no such texts.
func closeQuotes(src []byte) (closed []byte, open []openText) {
	closed = src
	var first token // of the texts in its line
	var firstAt int
	for lx := newLexer(src); len(open) < maxDiagnostics; {
		lx.skipBlank()
		left := len(lx.rest)
		at := len(src) - left
		t := lx.next()
		if t.kind == tokenEOF {
			break
		}
		if src[at] != '"' {
			continue
		}
		if first.pos.Line != t.pos.Line {
			first, firstAt = t, at
		}
		line, _, over := bytes.Cut(src[at:len(src)-len(lx.rest)], []byte("\n"))
		if t.kind == tokenString && !over {
			continue
		}
		text := strings.TrimRight(string(src[firstAt:at+len(line)]), closers)
		pos := first.pos
		pos.EndColumn = pos.Column + utf8.RuneCountInString(text)
		open = append(open, openText{pos, unclosedProblem(text)})
		if len(open) == 1 {
			closed = bytes.Clone(src)
		}
		inside := len(closedText(string(line[1:])))
		closed = slices.Insert(closed, len(closed)-left+1+inside, '"')
		lx.rest, lx.line, lx.column = src[at+1+inside:], t.pos.Line, t.pos.Column+1+inside
	}
	return closed, open
}
