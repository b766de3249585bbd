package config

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/socket-intents/mamma/policy"
)

// prefixStatement reads a statement of a prefix block into b.
func (p *original) prefixStatement(where string, b *Block) bool {
	statement := p.tok
	if statement.kind == keywordSet {
		s, ok := p.setting(where)
		switch {
		case !ok:
		case s.Name == "default": // with any value, even 0 (doc/original/policies.md 2)
			yes := true
			b.Default = &yes
		default:
			b.Options = append(b.Options, s)
		}
		return ok
	}
	switch statement.kind {
	case keywordEnabled, keywordDNSBindTo, keywordResolvConf, keywordNameserver:
	default:
		p.unexpected("a statement in "+where, "set", "enabled", "dnsbindto", "resolvconf", "nameserver")
		return false
	}
	p.advance()
	value := p.tok
	var err error
	switch statement.kind {
	case keywordEnabled:
		if value.kind != tokenInteger {
			p.unexpected("a number after enabled")
			return false
		}
		n, _ := p.integer()
		on := n != 0
		b.Enabled = &on
	case keywordDNSBindTo:
		if value.kind != tokenString {
			p.unexpected("an address in quotes after dnsbindto")
			return false
		}
		b.DNSBindTo, err = parseAddr(value.text)
	case keywordResolvConf:
		if value.kind != tokenString {
			p.unexpected("a path in quotes after resolvconf")
			return false
		}
		b.ResolvConf, err = parsePath(value.text)
	case keywordNameserver:
		if value.kind != tokenString && value.kind != tokenIPv4 && value.kind != tokenIPv6 {
			p.unexpected("an address after nameserver")
			return false
		}
		if value.problem != "" {
			break // the error was reported
		}
		var server netip.AddrPort
		server, err = parseNameserver(value.text)
		b.Nameservers = append(b.Nameservers, server)
	}
	if err != nil {
		p.errorf(value.pos, "%s in %s %v", statement.text, where, err)
	}
	p.advance()
	return true
}

// integer returns the value of the current token, an INTNUMBER. Original: defect,
// beyond 32 bits.
func (p *original) integer() (int32, bool) {
	n, err := strconv.ParseInt(p.tok.text, 10, 32)
	if err != nil {
		p.errorf(p.tok.pos, "%s is too large; at most %d", p.tok.text, math.MaxInt32)
	}
	return int32(n), err == nil
}

// setting reads a set statement.
func (p *original) setting(where string) (policy.Setting, bool) {
	p.advance()
	name := p.tok
	if name.kind != tokenWord && name.kind != tokenString {
		p.unexpected("a name after set" + p.keywordHint())
		return policy.Setting{}, false
	}
	p.advance()
	p.accept('=')
	s := policy.Setting{
		Name: name.text, Constant: true, Block: where,
		File: p.src.name, Line: name.pos.Line, Column: name.pos.Column,
		Expr: p.tok.text, ExprLine: p.tok.pos.Line, ExprColumn: p.tok.pos.Column,
	}
	switch p.tok.kind {
	case tokenWord:
		s.Value = p.tok.text
	case tokenString:
		s.Value = p.tok.text
		s.Expr = `"` + p.tok.text + `"`
	case tokenInteger:
		n, _ := p.integer()
		s.Value = strconv.Itoa(int(n))
	case tokenDouble:
		f, err := strconv.ParseFloat(p.tok.text, 64)
		if err != nil {
			p.errorf(p.tok.pos, "the number is too large")
		}
		s.Value = strconv.FormatFloat(f, 'f', 6, 64)
	case tokenIPv4, tokenIPv6:
		p.errorf(p.tok.pos, "an address as the value of %s must stand in quotes", name.text)
		p.advance()
		return s, p.tok.kind == ';'
	default:
		p.unexpected("the value of " + name.text + p.keywordHint())
		return s, false
	}
	p.advance()
	return s, true
}

// keywordHint adds a hint if a keyword stands in place of a name.
func (p *original) keywordHint() string {
	if p.tok.kind <= keywordPolicy {
		return " (words of the grammar must stand in quotes)"
	}
	return ""
}
