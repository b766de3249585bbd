package config

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// This file mends habits from other file formats: values without quotes, "name: value",
// semicolons, commas. HCL's parser reports each of them twice, with a misleading message, and
// then stops. So such places are found before, and overwritten by text that the parser
// accepts. The rest of the file is then read, too. Nothing moves, so that all positions
// remain those of the file.

// word is text without quotes where a quoted value or the name of a block is expected.
type word struct {
	text string
	pos  Pos
}

// wordForm matches what people write without quotes: names, paths, addresses, patterns,
// and amounts with a unit.
var wordForm = regexp.MustCompile(`^\[[0-9A-Fa-f:.%]+\]:[0-9]+$|^[\pL\pN_./:@%+*?~$,=-]*$|^[0-9.]+ ?[\pL/]+$`)

// lacksQuotes tells whether a text without quotes matches wordForm and is no
// expression.
func lacksQuotes(text string) bool {
	const longest = 300
	return len(text) <= longest && wordForm.MatchString(text) && !strings.Contains(text, "==") &&
		strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
}

// otherQuotes are the quotes of other languages and of word processors.
var otherQuotes = [][2]string{{"'", "'"}, {"`", "`"}, {"\u201c", "\u201d"}, {"\u201e", "\u201c"}, {"\u2018", "\u2019"}}

// unquote returns the text that needs quotes. ok tells whether raw is such a text.
func unquote(raw string) (text string, ok bool) {
	for _, q := range otherQuotes {
		inner, opened := strings.CutPrefix(raw, q[0])
		inner, closed := strings.CutSuffix(inner, q[1])
		if opened && closed && inner != "" && !strings.ContainsAny(inner, "\"\\'`\n") {
			return inner, true
		}
	}
	return raw, lacksQuotes(raw)
}

// mender overwrites what HCL's parser does not take.
type mender struct {
	*hclFile
	tokens hclsyntax.Tokens
	out    []byte // as the source, byte for byte, but for what was overwritten
	done   bool   // something was
	blocks map[string]blockReader

	semicolons, commas stray
}

// stray is a sign that ends settings in other formats, and that this format lacks.
type stray struct {
	first Pos
	count int
}

// parse parses the file, and reports what is wrong with its syntax.
func (h *hclFile) parse() (*hclsyntax.Body, bool) {
	if !h.bounded() {
		return nil, false
	}
	f, diags := hclsyntax.ParseConfig(h.src.text, h.src.name, hcl.InitialPos)
	if !diags.HasErrors() {
		return f.Body.(*hclsyntax.Body), true
	}
	m := &mender{hclFile: h, out: slices.Clone(h.src.text)}
	m.tokens, _ = hclsyntax.LexConfig(h.src.text, h.src.name, hcl.InitialPos)
	if h.c != nil {
		m.blocks = h.fileBlocks()
	}
	h.words = map[int]word{}
	m.unclosed()
	m.mend()
	if m.done {
		if f, diags = hclsyntax.ParseConfig(m.out, h.src.name, hcl.InitialPos); !diags.HasErrors() {
			h.mended = m.out
			return f.Body.(*hclsyntax.Body), true
		}
	}
	h.unquoted() // nobody will read them
	for _, d := range diags {
		h.diagnostic(d)
	}
	return nil, false
}

// unquoted reports all that lacks quotes.
func (h *hclFile) unquoted() {
	for _, at := range slices.Sorted(maps.Keys(h.words)) {
		h.tell(h.words[at].pos, "put it in quotes: %q", h.words[at].text)
	}
}

// unread sees to it that no file is taken for right which was mended to be read.
func (h *hclFile) unread() {
	if h.mended != nil && len(h.errors) == 0 {
		h.unquoted()
	}
}

// source gives what stands in the file at a range, or, if that was overwritten for a
// mistake which was reported, what took its place.
func (h *hclFile) source(r hcl.Range) string {
	if h.mended == nil {
		return string(r.SliceBytes(h.src.text))
	}
	if _, ok := h.firstWord(r); ok {
		return string(r.SliceBytes(h.src.text))
	}
	return string(r.SliceBytes(h.mended))
}

// firstWord is the first of h.words within a range.
func (h *hclFile) firstWord(r hcl.Range) (word, bool) {
	if len(h.order) != len(h.words) {
		h.order = slices.Sorted(maps.Keys(h.words))
	}
	i, _ := slices.BinarySearch(h.order, r.Start.Byte)
	if i == len(h.order) || h.order[i] >= r.End.Byte {
		return word{}, false
	}
	return h.words[h.order[i]], true
}

// mend goes through the file statement by statement.
func (m *mender) mend() {
	begins := true // a statement
	for i := 0; i < len(m.tokens); {
		t := m.tokens[i]
		switch t.Type {
		case hclsyntax.TokenSemicolon:
			m.leaveOut(&m.semicolons, t)
			if m.semicolons.count > 1 {
				m.silence(t.Range.Start.Line)
			}
			begins = true
		case hclsyntax.TokenComma:
			begins = false
			if i > 0 && m.at(i-1).Type == hclsyntax.TokenCBrace && m.trailing(i) {
				m.leaveOut(&m.commas, t)
				begins = true
			}
		case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenOBrace, hclsyntax.TokenCBrace:
			begins = true
		case hclsyntax.TokenIdent:
			if begins {
				i = m.statement(i)
				begins = m.at(i-1).Type == hclsyntax.TokenComment // which has the end of its line
				continue
			}
		default:
			begins = false
		}
		i++
	}
	m.tellStray(m.semicolons, "a semicolon is nothing in this format: a setting ends with its line; leave it out")
	m.tellStray(m.commas, "a setting or a block ends with its line, without a comma: leave it out")
}

// leaveOut overwrites a sign. tellStray reports it, together with others of its kind.
func (m *mender) leaveOut(s *stray, t hclsyntax.Token) {
	m.overwrite(t.Range.Start.Byte, t.Range.End.Byte, ' ')
	if s.count++; s.count == 1 {
		s.first = position(t.Range)
	}
}

func (m *mender) tellStray(s stray, message string) {
	switch s.count {
	case 0:
	case 1:
		m.errorf(s.first, "%s", message)
	default:
		m.errorf(s.first, "%s (here and %d times more)", message, s.count-1)
	}
}

// trailing tells whether token i is a comma after which nothing follows on its line, and
// no value on the next one.
func (m *mender) trailing(i int) bool {
	if m.at(i).Type != hclsyntax.TokenComma || m.at(i+1).Type == hclsyntax.TokenIdent {
		return false
	}
	for i++; m.at(i).Type == hclsyntax.TokenNewline || m.at(i).Type == hclsyntax.TokenComment; i++ {
	}
	switch m.at(i).Type {
	case hclsyntax.TokenIdent, hclsyntax.TokenCBrace, hclsyntax.TokenEOF:
		return true
	}
	return false
}

func (m *mender) overwrite(from, to int, by byte) {
	m.done = true
	for i := from; i < to; i++ {
		m.out[i] = by
	}
}

// at gives token i, the last one, which ends the file, for all that follow.
func (m *mender) at(i int) hclsyntax.Token { return m.tokens[min(i, len(m.tokens)-1)] }

// statement looks at the statement whose name is token i, and returns the token where
// what follows it begins.
func (m *mender) statement(i int) int {
	if m.at(i+1).Type == hclsyntax.TokenEqual {
		end := m.valueEnd(i + 2)
		last := end
		if m.trailing(end - 1) {
			last--
			m.leaveOut(&m.commas, m.at(last))
		}
		m.value(i+2, last)
		return end
	}
	for j := i + 1; ; j++ {
		switch m.at(j).Type {
		case hclsyntax.TokenOBrace:
			m.label(i+1, j)
			return j
		case hclsyntax.TokenOQuote, hclsyntax.TokenQuotedLit, hclsyntax.TokenCQuote:
		case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEqual, hclsyntax.TokenSemicolon, hclsyntax.TokenCBrace, hclsyntax.TokenEOF:
			if m.braceBelow(i, j) {
				return j
			}
			return m.foreign(i)
		}
	}
}

// braceBelow reports a block whose opening brace stands on a later line than its name. Its
// name is token i, and its line ends with token j.
func (m *mender) braceBelow(i, j int) bool {
	end := j
	for m.at(j).Type == hclsyntax.TokenNewline || m.at(j).Type == hclsyntax.TokenComment {
		j++
	}
	if j == end || m.at(j).Type != hclsyntax.TokenOBrace || m.at(i+1).Type == hclsyntax.TokenColon {
		return false
	}
	last := m.at(end - 1).Range.End.Byte
	m.tell(position(m.at(i).Range), "the brace that opens a block stands on the line of its name: %s {", m.src.text[m.at(i).Range.Start.Byte:last])
	m.silence(m.at(j).Range.Start.Line) // where the parser would look for a name
	return true
}

// valueEnd is the token after the value that begins with token i.
func (m *mender) valueEnd(i int) int {
	depth := 0
	for ; ; i++ {
		switch t := m.at(i); t.Type {
		case hclsyntax.TokenEOF:
			return i
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace:
			if depth == 0 {
				return i
			}
			depth--
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth = max(0, depth-1)
		case hclsyntax.TokenNewline, hclsyntax.TokenSemicolon:
			if depth == 0 {
				return i
			}
		case hclsyntax.TokenComment:
			if depth == 0 {
				if m.url(i) {
					return i + 1
				}
				return i
			}
		}
	}
}

// url tells whether a comment is none, but the rest of a URL without quotes.
func (m *mender) url(i int) bool {
	t, before := m.at(i), m.at(i-1)
	return before.Type == hclsyntax.TokenColon && before.Range.End.Byte == t.Range.Start.Byte && bytes.HasPrefix(t.Bytes, []byte("//"))
}

// span is the text of tokens i to end, without the blanks and comments around it.
func (m *mender) span(i, end int) (from, to int) {
	for i < end && (m.at(i).Type == hclsyntax.TokenNewline || m.at(i).Type == hclsyntax.TokenComment && !m.url(i)) {
		i++
	}
	for end > i && (m.at(end-1).Type == hclsyntax.TokenNewline || m.at(end-1).Type == hclsyntax.TokenComment && !m.url(end-1)) {
		end--
	}
	if i >= end {
		return 0, 0
	}
	from, to = m.at(i).Range.Start.Byte, m.at(end-1).Range.End.Byte
	if m.url(end - 1) {
		if n := bytes.IndexAny(m.src.text[from:to], " \t\r\n"); n >= 0 {
			to = from + n
		}
	}
	return from, to
}

// value marks what lacks quotes in the value of tokens i to end.
func (m *mender) value(i, end int) {
	if comma := m.another(i, end); comma < end {
		name := m.at(comma + 1)
		m.errorf(position(name.Range), "one setting a line, without commas: put %s = ... on a line of its own, and the braces of its block around the lines", name.Bytes)
		m.blank(comma, end)
		m.value(i, comma)
		m.silence(name.Range.Start.Line)
		return
	}
	from, to := m.span(i, end)
	if from == to || parses(m.src.text[from:to]) || m.mark(i, from, to) {
		return
	}
	if m.at(i).Type == hclsyntax.TokenOBrack {
		m.elements(i+1, end)
		return
	}
	if list := m.values(i, end); len(list) > 1 && !slices.ContainsFunc(list, func(v string) bool { return v[0] != '"' }) {
		pos := position(m.at(i).Range)
		pos.EndColumn = pos.Column + len([]rune(string(m.src.text[from:to])))
		m.words[from] = word{strings.ReplaceAll(strings.Join(list, ", "), `"`, ""), pos}
		m.overwrite(from, to, 'q')
		return
	}
	m.quantities(i, end)
}

// another is the comma in tokens i to end behind which another setting follows on the same
// line, end if there is none. Intents without quotes, category=query,filesize=1k, are no
// settings.
func (m *mender) another(i, end int) int {
	depth := 0
	for j := i; j < end; j++ {
		switch m.at(j).Type {
		case hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOBrace, hclsyntax.TokenOQuote:
			depth++
		case hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCQuote:
			depth--
		case hclsyntax.TokenEqual:
			if depth == 0 {
				return end
			}
		case hclsyntax.TokenComma:
			if depth == 0 && j+2 < end && m.at(j+1).Type == hclsyntax.TokenIdent && m.at(j+2).Type == hclsyntax.TokenEqual {
				return j
			}
		}
	}
	return end
}

// elements marks what lacks quotes in a list; token i is the first after its bracket.
func (m *mender) elements(i, end int) {
	depth := 0
	for j := i; j < end; j++ {
		switch m.at(j).Type {
		case hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOBrace, hclsyntax.TokenOQuote:
			depth++
			continue
		case hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCQuote:
			if depth--; depth >= 0 {
				continue
			}
		case hclsyntax.TokenComma:
			if depth > 0 {
				continue
			}
		default:
			continue
		}
		if from, to := m.span(i, j); from < to && !parses(m.src.text[from:to]) {
			m.mark(i, from, to)
		}
		if depth < 0 {
			return
		}
		i = j + 1
	}
}

// mark makes the text at from to to a word, if that is what it is; it begins in token i
// or behind it.
func (m *mender) mark(i, from, to int) bool {
	text, ok := unquote(string(m.src.text[from:to]))
	if !ok {
		return false
	}
	for m.at(i).Range.Start.Byte < from {
		i++
	}
	pos := position(m.at(i).Range)
	pos.EndColumn = pos.Column + len([]rune(string(m.src.text[from:to])))
	m.words[from] = word{text, pos}
	m.overwrite(from, to, 'q') // a name, which is not a constant
	return true
}

// quantities reports numbers with a unit in an expression.
func (m *mender) quantities(i, end int) {
	for ; i+1 < end; i++ {
		number, unit := m.at(i), m.at(i+1)
		if number.Type != hclsyntax.TokenNumberLit || unit.Type != hclsyntax.TokenIdent || number.Range.End.Byte != unit.Range.Start.Byte {
			continue
		}
		pos := position(number.Range)
		pos.EndColumn = unit.Range.End.Column
		m.tell(pos, "put it in quotes: %q", string(number.Bytes)+string(unit.Bytes))
		m.overwrite(unit.Range.Start.Byte, unit.Range.End.Byte, ' ')
	}
}

// label marks the name of a block if it lacks quotes. It stands in tokens i to brace.
func (m *mender) label(i, brace int) {
	if i == brace || brace == i+1 && m.at(i).Type == hclsyntax.TokenIdent {
		return
	}
	from, to := m.span(i, brace)
	if from < to && m.src.text[from] != '"' {
		m.mark(i, from, to)
	}
}

// truths are what other formats take for true and false, and no setting has as a text.
var truths = map[string]string{"yes": "true", "on": "true", "no": "false", "true": "true", "false": "false"}

// foreign reports a setting in the form of other files, and returns the token after it:
// "name: value", "name value", and "set name value" of the original grammar.
func (m *mender) foreign(i int) int {
	name, after := m.at(i), i+1
	set := string(name.Bytes) == "set" && m.c != nil && m.at(i+1).Type == hclsyntax.TokenIdent
	if set {
		name, after = m.at(i+1), i+2
	}
	if next, ok := m.mapping(i); ok {
		return next
	}
	if m.blocks[string(name.Bytes)].read != nil { // a block without its braces
		return i + 1
	}
	sign := m.at(after) // in whose place an equals sign goes
	hasSign := sign.Type == hclsyntax.TokenColon || set && sign.Type == hclsyntax.TokenEqual
	if hasSign {
		after++
		if sign.Type == hclsyntax.TokenColon && m.at(after).Type == hclsyntax.TokenEqual {
			after++
		}
	}
	end := m.valueEnd(after)
	last := end
	if m.trailing(end - 1) {
		last--
	}
	from, to := m.span(after, last)
	space := name.Range.End.Byte
	if from == to || name.Range.Start.Line != m.at(after).Range.Start.Line || !hasSign && from == space {
		return i + 1
	}
	shown := string(m.src.text[from:to])
	switch text, ok := unquote(shown); {
	case m.at(after).Type == hclsyntax.TokenOBrack && m.at(last-1).Type == hclsyntax.TokenCBrack:
		shown = "[" + strings.Join(m.values(after+1, last-1), ", ") + "]"
		m.overwrite(from, to, 'q')
	case parses([]byte(shown)) && (!hclsyntax.ValidIdentifier(shown) || shown == "true" || shown == "false"):
	case !ok:
		return i + 1
	default:
		shown = fmt.Sprintf("%q", text)
		if truth, ok := truths[strings.ToLower(text)]; ok {
			shown = truth
		}
		m.overwrite(from, to, 'q')
	}
	if n := string(name.Bytes); m.c != nil && (n == "default" || n == "enabled") && (shown == "0" || shown == "1") {
		shown = strconv.FormatBool(shown == "1") // the original's
	}
	m.tell(position(m.at(i).Range), "a setting is written NAME = VALUE: %s = %s", name.Bytes, shown)
	m.overwrite(m.at(i).Range.Start.Byte, name.Range.Start.Byte, ' ')
	m.overwrite(space, from, ' ')
	m.overwrite(space, space+1, '=')
	m.blank(last, end)
	return end
}

// parses tells whether HCL takes a text for an expression.
func parses(text []byte) bool {
	_, diags := hclsyntax.ParseExpression(text, "", hcl.InitialPos)
	return !diags.HasErrors()
}
