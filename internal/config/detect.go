package config

// isOriginal tells which grammar a file is in: true for the original one, false for
// HCL. Anything that only HCL has decides for HCL, wherever it stands. The reason is
// that people add semicolons out of habit, and forget quotes around addresses. The
// first of these rules that fits the file decides:
//
//   - HCL: a comment of `//` or `/*`; a name or keyword before `=` that no `set`
//
// precedes
//
//	  and no semicolon ends; the name of a block that the original does not have, before
//	  `{` or a string.
//	- The original: `iface`; `set` before a name; any other keyword of a statement
//
// that is
//
//	  not before `=`; `prefix` before an address, if there is a semicolon.
//	- HCL: any name before `=`, `{` or a string, or with a colon after it.    - The
//
// original: a semicolon.
//
// An empty file, or one that just names a policy, means the same in both.
func isOriginal(src []byte) bool {
	var original, address, likely, semicolon bool
	tokens := significant(src)
	ended := endedBySemicolon(tokens)
	blocks := blocksOfHCL()
	before := tokenKind(0)
	for i := 0; tokens[i].kind != tokenEOF; before, i = tokens[i].kind, i+1 {
		tok, next := tokens[i], tokens[i+1]
		operand := before == keywordSet || before == keywordIface || before == keywordPolicy || before == '='
		assigned := next.kind == '=' && !operand
		colon := next.kind == tokenIllegal && next.text == ":" && next.pos.Column == tok.pos.EndColumn
		switch tok.kind {
		case ';':
			semicolon = true
		case '/':
			if next.kind == '/' || next.kind == tokenIllegal && next.text == "*" {
				return false
			}
		case keywordPolicy:
		case keywordPrefix:
			address = address || next.kind == tokenIPv4 || next.kind == tokenIPv6
		case keywordIface, keywordSet, keywordEnabled, keywordDNSBindTo, keywordResolvConf, keywordNameserver:
			original = original || !assigned && !colon
		case tokenWord:
			opens := !operand && (next.kind == '{' || next.kind == tokenString)
			if opens && blocks[tok.text] {
				return false
			}
			likely = likely || opens
		default:
			continue
		}
		if assigned && !ended[i+1] {
			return false
		}
		likely = likely || assigned || colon
	}
	return original || semicolon && (address || !likely)
}

// significant returns the tokens of a file. The last one is the end of the file.
func significant(src []byte) []token {
	var list []token
	for lx := newLexer(src); ; {
		t := lx.next()
		list = append(list, t)
		if t.kind == tokenEOF {
			return list
		}
	}
}

// endedBySemicolon tells for each token whether a semicolon follows on the same line.
func endedBySemicolon(tokens []token) []bool {
	ended := make([]bool, len(tokens))
	for i := len(tokens) - 2; i >= 0; i-- {
		t := tokens[i]
		ended[i] = t.kind == ';' || tokens[i+1].pos.Line == t.pos.Line && ended[i+1]
	}
	return ended
}

// blocksOfHCL are the names of blocks that the original does not have.
func blocksOfHCL() map[string]bool {
	h := &hclFile{c: defaults(), report: &report{}}
	names := map[string]bool{"options": true}
	for name := range h.fileBlocks() {
		names[name] = keyword(name) == tokenWord
	}
	return names
}
