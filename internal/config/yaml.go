package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// mapping reports a name with a colon and nothing after it, with which YAML begins
// lists and groups. It returns the token after the lines that belong to the name. These
// lines are overwritten, because their mistakes would be those of another format. So is
// the name of a block that is followed by a colon and a value.
func (m *mender) mapping(i int) (next int, ok bool) {
	name := m.at(i)
	if m.at(i+1).Type != hclsyntax.TokenColon {
		return i, false
	}
	block := m.blocks[string(name.Bytes)]
	end := m.valueEnd(i + 2)
	if from, to := m.span(i+2, end); from < to {
		if block.label == "" {
			return i, false
		}
		m.tell(position(name.Range), "%s is a block, and its name has no colon before it: %s %s { ... }", name.Bytes, name.Bytes, m.quoted(from, to))
		m.blank(i, end)
		return end, true
	}
	items, behind := m.belonging(i, end)
	switch form := string(name.Bytes); {
	case block.read == nil && len(items) > 0:
		m.tell(position(name.Range), "a list is written NAME = [VALUE, ...]: %s = [%s]", name.Bytes, strings.Join(items, ", "))
	case block.read == nil && behind == end:
		m.tell(position(name.Range), "a setting is written NAME = VALUE, and this one has no value")
	default:
		if block.label != "" {
			form += fmt.Sprintf(" %q", strings.ToUpper(block.label))
		}
		m.tell(position(name.Range), "a block is written with braces, and its settings NAME = VALUE: %s { ... }", form)
	}
	m.blank(i, behind)
	return behind, true
}

// belonging returns the values of the lines with a hyphen below name i, and the token
// after all lines that belong to the name: these lines, and lines with deeper
// indentation. end is the token at the end of the name's line.
func (m *mender) belonging(i, end int) (items []string, behind int) {
	column := m.at(i).Range.Start.Column
	for j := end; ; {
		switch t := m.at(j); {
		case t.Type == hclsyntax.TokenNewline, t.Type == hclsyntax.TokenComment:
			j++
			continue
		case t.Type == hclsyntax.TokenEOF, t.Type == hclsyntax.TokenCBrace, t.Range.Start.Column < column:
			return items, end
		case t.Type == hclsyntax.TokenMinus:
			j++
			end = m.valueEnd(j)
			if from, to := m.span(j, end); from < to {
				items = append(items, m.quoted(from, to))
			}
		case t.Range.Start.Column == column:
			return items, end
		default:
			end = m.valueEnd(j)
		}
		if end == j { // no line begins with this
			return items, end
		}
		j = end
	}
}

// quoted returns the value from from to to as written, with quotes added if it lacks
// them.
func (m *mender) quoted(from, to int) string {
	raw := string(m.src.text[from:to])
	if parses([]byte(raw)) && !hclsyntax.ValidIdentifier(raw) || raw == "true" || raw == "false" {
		return raw
	}
	text, _ := unquote(raw)
	return fmt.Sprintf("%q", text)
}

// blank overwrites the tokens from i to end, but not the ends of lines.
func (m *mender) blank(i, end int) {
	m.done = true
	for at := m.at(i).Range.Start.Byte; at < m.at(end).Range.Start.Byte; at++ {
		if m.out[at] != '\n' && m.out[at] != '\r' {
			m.out[at] = ' '
		}
	}
}

// values returns the values between the commas among the tokens from i to end.
func (m *mender) values(i, end int) (list []string) {
	depth := 0
	for j := i; j <= end; j++ {
		switch m.at(j).Type {
		case hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOBrace, hclsyntax.TokenOQuote:
			depth++
			continue
		case hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCQuote:
			depth--
		}
		if j < end && (depth > 0 || m.at(j).Type != hclsyntax.TokenComma) {
			continue
		}
		if from, to := m.span(i, j); from < to {
			list = append(list, m.quoted(from, to))
		}
		i = j + 1
	}
	return list
}
