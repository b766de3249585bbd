package config

import (
	"bytes"
	"strings"

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
		if quotes := strings.Count(text, `"`); quotes > 1 {
			m.tell(pos, "a quote is missing: this line has %d of them, and a text ends in the line in which it begins", quotes)
		} else {
			inside, _, _ := strings.Cut(text, " #")
			m.tell(pos, "the quote that closes this text is missing: %q", strings.TrimRight(inside[1:], closers))
		}
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
