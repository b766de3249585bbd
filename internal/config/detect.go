package config

// isOriginal tells which grammar a file is in: true for the original one, false
// for HCL. What can only stand in one of them decides, whichever comes first:
//
//   - original: `;`;
//   - HCL: a name before `=` or `{`, or before a string (`interface "x"`), a keyword
//     before `=`, a comment of `//` or `/*`.
//
// A file with neither is in the original grammar if it has what HCL has no use for:
// `iface`, `set` before a name, `prefix` before an address, a prefix statement
// without `=`. An empty file, or one that just names a policy, means the same in
// both.
func isOriginal(src []byte) bool {
	original := false
	lx := newLexer(src)
	var before token
	for tok, next := lx.next(), lx.next(); tok.kind != tokenEOF; before, tok, next = tok, next, lx.next() {
		switch tok.kind {
		case ';':
			return true
		case keywordPolicy:
			if next.kind == '=' {
				return false
			}
		case keywordPrefix:
			switch next.kind {
			case '=':
				return false
			case '{', tokenString: // wrong in the original, and with semicolons in HCL
			default:
				original = true
			}
		case keywordIface, keywordSet, keywordEnabled, keywordDNSBindTo, keywordResolvConf, keywordNameserver:
			if next.kind == '=' {
				return false
			}
			original = true
		case tokenWord:
			switch {
			case before.kind == keywordSet || before.kind == keywordIface || before.kind == keywordPolicy: // their operand
			case before.kind == '=' && original: // a value
			case next.kind == '=' || next.kind == '{' || next.kind == tokenString:
				return false
			}
		case '/':
			if next.kind == '/' || next.kind == tokenIllegal && next.text == "*" {
				return false
			}
		}
	}
	return original
}
