package config

// isOriginal tells which grammar a file is in: true for the original one, false
// for HCL. What can only stand in one of them decides, whichever comes first:
//
//   - original: `;`, `iface`, `set` before a name, `prefix` before anything but
//     a string, a prefix statement without `=`;
//   - HCL: a name before `=` or `{`, a name before a string (`interface "x"`),
//     `prefix` before a string, a comment of `//` or `/*`.
//
// An empty file, or one that just names a policy, means the same in both.
func isOriginal(src []byte) bool {
	lx := newLexer(src)
	var before token
	for tok, next := lx.next(), lx.next(); tok.kind != tokenEOF; before, tok, next = tok, next, lx.next() {
		switch tok.kind {
		case ';', keywordIface:
			return true
		case keywordSet:
			return next.kind == tokenWord || next.kind == tokenString
		case keywordPrefix:
			return next.kind != tokenString && next.kind != '='
		case keywordEnabled, keywordDNSBindTo, keywordResolvConf, keywordNameserver:
			return next.kind != '='
		case tokenWord:
			switch next.kind {
			case '=', tokenString:
				return false
			case '{':
				if before.kind != keywordPolicy { // a policy's name without quotes tells nothing
					return false
				}
			}
		case '/':
			if next.kind == '/' || next.kind == tokenIllegal && next.text == "*" {
				return false
			}
		}
	}
	return false
}
