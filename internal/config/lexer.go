package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"unicode/utf8"
)

// tokenKind is the kind of a token of the original grammar. A punctuation mark is its
// own kind.
type tokenKind rune

const (
	tokenEOF tokenKind = -iota - 1
	tokenIllegal
	tokenString // QNAME
	tokenWord   // LNAME
	tokenInteger
	tokenDouble
	tokenIPv4
	tokenIPv6
	keywordPolicy
	keywordPrefix
	keywordIface
	keywordSet
	keywordEnabled
	keywordDNSBindTo
	keywordResolvConf
	keywordNameserver
)

func keyword(word string) tokenKind {
	switch word {
	case "policy":
		return keywordPolicy
	case "prefix":
		return keywordPrefix
	case "iface":
		return keywordIface
	case "set":
		return keywordSet
	case "enabled":
		return keywordEnabled
	case "dnsbindto":
		return keywordDNSBindTo
	case "resolvconf":
		return keywordResolvConf
	case "nameserver":
		return keywordNameserver
	}
	return tokenWord
}

// token is a token of the original grammar.
type token struct {
	kind tokenKind
	text string // as written; for a string the text between the quotes
	pos  Pos
	// problem says what is wrong with a token that is not in the grammar: tokenIllegal,
	// which is ignored, or a bad address.
	problem string
}

func (t token) String() string {
	switch t.kind {
	case tokenEOF:
		return "the end of the file"
	case tokenString:
		return fmt.Sprintf("%q", t.text)
	}
	return "`" + t.text + "`"
}

// lexer splits a file into the tokens of doc/original/daemon.md 12.1. In addition it
// accepts a comment without a newline, and ignores carriage returns (17, D32).
type lexer struct {
	rest   []byte
	line   int
	column int
}

func newLexer(src []byte) *lexer { return &lexer{rest: src, line: 1, column: 1} }

// take removes n bytes from the rest and makes a token of them.
func (l *lexer) take(kind tokenKind, n int) token {
	t := token{kind: kind, text: string(l.rest[:n]), pos: Pos{Line: l.line, Column: l.column}}
	l.skip(n)
	t.pos.EndColumn = l.column
	if t.pos.Line != l.line { // a string over several lines has the position of its start
		t.pos.EndColumn = t.pos.Column + 1
	}
	return t
}

func (l *lexer) skip(n int) {
	for _, b := range l.rest[:n] {
		switch {
		case b == '\n':
			l.line++
			l.column = 1
		case utf8.RuneStart(b):
			l.column++
		}
	}
	l.rest = l.rest[n:]
}

// next returns the next token. After the end it returns tokenEOF again and again.
func (l *lexer) next() token {
	l.skipBlank()
	if len(l.rest) == 0 {
		return l.take(tokenEOF, 0)
	}
	switch b := l.rest[0]; b {
	case '{', '}', '=', '/', ';':
		return l.take(tokenKind(b), 1)
	case '"':
		return l.quoted()
	}
	// The longest match wins, and the first of equally long ones.
	kind, n := tokenIllegal, 0
	try := func(k tokenKind, length int) {
		if length > n {
			kind, n = k, length
		}
	}
	try(tokenIPv4, ipv4Length(l.rest))
	try(tokenIPv6, ipv6Length(l.rest))
	try(tokenInteger, span(l.rest, isDigit))
	try(tokenDouble, doubleLength(l.rest))
	if !isDigit(l.rest[0]) {
		if length := span(l.rest, isWord); length > n {
			return l.take(keyword(string(l.rest[:length])), length)
		}
	}
	switch kind {
	case tokenIllegal:
		_, size := utf8.DecodeRune(l.rest)
		t := l.take(kind, size)
		t.problem = fmt.Sprintf("unexpected character %q", t.text)
		return t
	case tokenIPv4, tokenIPv6:
		t := l.take(kind, n)
		if _, err := netip.ParseAddr(t.text); err != nil {
			t.problem = fmt.Sprintf("%s is not a valid address", t)
		}
		return t
	}
	return l.take(kind, n)
}

func (l *lexer) skipBlank() {
	for len(l.rest) > 0 {
		switch l.rest[0] {
		case ' ', '\t', '\n', '\r':
			l.skip(1)
		case '#':
			n := bytes.IndexByte(l.rest, '\n')
			if n < 0 {
				n = len(l.rest)
			}
			l.skip(n)
		default:
			return
		}
	}
}

// quoted reads a string. A quote after a backslash does not end the string, and the
// backslash is kept.
func (l *lexer) quoted() token {
	for i := 1; i < len(l.rest); i++ {
		if l.rest[i] != '"' || l.rest[i-1] == '\\' {
			continue
		}
		t := l.take(tokenString, i+1)
		t.text = t.text[1:i]
		if !utf8.ValidString(t.text) || bytes.IndexByte([]byte(t.text), 0) >= 0 {
			t.problem = fmt.Sprintf("%q is not UTF-8 text", t.text)
		}
		return t
	}
	t := l.take(tokenIllegal, len(l.rest))
	t.problem = "a string starts here and does not end"
	return t
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isHex(b byte) bool { return isDigit(b) || b|0x20 >= 'a' && b|0x20 <= 'f' }

func isWord(b byte) bool { return isDigit(b) || b == '_' || b|0x20 >= 'a' && b|0x20 <= 'z' }

// span returns the number of bytes at the start of s that satisfy ok.
func span(s []byte, ok func(byte) bool) int {
	n := 0
	for n < len(s) && ok(s[n]) {
		n++
	}
	return n
}

// ipv4Length returns the length of the IN4ADDR at the start of s, 0 if there is none.
func ipv4Length(s []byte) int {
	n := 0
	for group := range 4 {
		if group > 0 {
			if n >= len(s) || s[n] != '.' {
				return 0
			}
			n++
		}
		digits := min(span(s[n:], isDigit), 3)
		if digits == 0 {
			return 0
		}
		n += digits
	}
	return n
}

// doubleLength returns the length of the DOUBLENUMBER at the start of s, 0 if there is
// none.
func doubleLength(s []byte) int {
	n := span(s, isDigit)
	if n >= len(s) || s[n] != '.' {
		return 0
	}
	fraction := span(s[n+1:], isDigit)
	if n+fraction == 0 {
		return 0
	}
	return n + 1 + fraction
}

// ipv6Length returns the length of the IN6ADDR at the start of s, 0 if there is none.
// It consists of groups joined by colons, the last of which may be an IPv4 address.
func ipv6Length(s []byte) int {
	n, best, colons, gap := 0, 0, 0, false
	if bytes.HasPrefix(s, []byte("::")) {
		n, colons, gap = 2, 2, true
	}
	for {
		digits := min(span(s[n:], isHex), 4)
		if digits == 0 {
			return best
		}
		if colons > 0 {
			best = n + digits
			if v4 := ipv4Length(s[n:]); v4 > 0 {
				best = n + v4
			}
		}
		n += digits
		switch rest := s[n:]; {
		case bytes.HasPrefix(rest, []byte("::")) && !gap:
			n, colons, gap = n+2, colons+2, true
			best = n
		case len(rest) > 1 && rest[0] == ':' && isHex(rest[1]):
			n, colons = n+1, colons+1
		default:
			return best
		}
	}
}
