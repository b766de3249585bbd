package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// parseOriginal reads a file in the original grammar (doc/original/daemon.md 12). All
// that is valid there is accepted, with the same meaning. What the original
// dropped with a message, or without one, is an error here, unless there is no
// doubt what was meant.
func parseOriginal(c *Config, r *report) {
	p := &original{c: c, report: r, lx: newLexer(r.src.text), blocks: map[netip.Prefix]int{}}
	p.advance()
	for p.tok.kind != tokenEOF {
		p.block()
	}
	c.Policy.Settings = p.ours(lastOfEach(c.Policy.Settings))
	p.foreign(c.Policy.Settings, false)
	for i := range c.Policy.Settings { // those of all policy blocks belong to the last one
		c.Policy.Settings[i].Block = policyBlock(c.Policy.Name)
	}
	c.Blocks = slices.DeleteFunc(c.Blocks, func(b Block) bool { return !b.Prefix.IsValid() }) // see add
	for i := range c.Blocks {
		c.Blocks[i].Options = lastOfEach(c.Blocks[i].Options)
		p.foreign(c.Blocks[i].Options, true)
	}
}

func policyBlock(name string) string { return fmt.Sprintf("policy %q", name) }

type original struct {
	*report
	c      *Config
	lx     *lexer
	tok    token
	blocks map[netip.Prefix]int // index in c.Blocks
	// skipping is set behind an error, while its rest is skipped.
	skipping bool
}

// advance goes to the next token. Characters that belong to no token are
// errors, and then ignored as the original does.
func (p *original) advance() {
	for {
		p.tok = p.lx.next()
		if p.tok.problem != "" && !p.skipping {
			p.errorf(p.tok.pos, "%s", p.tok.problem)
		}
		if p.tok.kind != tokenIllegal {
			return
		}
	}
}

// unexpected reports the current token where something else should stand, for
// instance one of the known words.
func (p *original) unexpected(want string, known ...string) {
	hint := ""
	if p.tok.kind == tokenWord && len(known) > 0 {
		hint = Suggest(p.tok.text, known)
	}
	p.errorf(p.tok.pos, "expected %s, found %s%s", want, p.tok, hint)
}

// accept takes the current token if it is of that kind.
func (p *original) accept(kind tokenKind) bool {
	if p.tok.kind != kind {
		return false
	}
	p.advance()
	return true
}

// block reads a block with its semicolon.
func (p *original) block() {
	ok := false
	switch p.tok.kind {
	case keywordPolicy:
		ok = p.policy()
	case keywordPrefix:
		ok = p.prefix()
	case keywordIface:
		ok = p.iface()
	case ';':
		p.warnf(p.tok.pos, "a semicolon without a block")
		p.advance()
		return
	default:
		p.unexpected("policy, prefix or iface", "policy", "prefix", "iface")
	}
	if !ok {
		p.skipBlock()
		return
	}
	switch p.tok.kind {
	case ';':
		p.advance()
	case tokenEOF, keywordPolicy, keywordPrefix, keywordIface:
		// The original loses the next block here (doc/original/daemon.md 12.5); its own
		// README shows a block that is the last one and lacks the semicolon.
		p.warnf(p.tok.pos, "a semicolon is missing after the block before %s", p.tok)
	default:
		p.unexpected("a semicolon after the block")
		p.skipBlock()
	}
}

// skipBlock goes behind the semicolon that ends the current block.
func (p *original) skipBlock() {
	p.skipping = true
	defer func() { p.skipping = false }()
	depth := 0
	for first := true; p.tok.kind != tokenEOF; first = false {
		switch p.tok.kind {
		case '{':
			depth++
		case '}':
			depth--
		case ';':
			if depth <= 0 {
				p.advance()
				return
			}
		case keywordPolicy, keywordPrefix, keywordIface:
			if depth <= 0 && !first {
				return
			}
		}
		p.advance()
	}
}

// statements reads what stands between braces, the current token being the
// opening one. statement reads one without its semicolon.
func (p *original) statements(where string, emptyAllowed bool, statement func() bool) bool {
	open := p.tok.pos
	p.advance()
	for {
		switch p.tok.kind {
		case '}':
			p.advance()
			return true
		case tokenEOF:
			p.errorf(open, "the block of %s starts here and does not end", where)
			return true
		case ';':
			if !emptyAllowed {
				p.warnf(p.tok.pos, "a semicolon without a statement")
			}
			p.advance()
			continue
		}
		if statement() {
			if p.accept(';') {
				continue
			}
			p.unexpected("a semicolon after the statement")
		}
		p.skipping = true
		for p.tok.kind != ';' && p.tok.kind != '}' && p.tok.kind != tokenEOF {
			p.advance()
		}
		p.skipping = false
		p.accept(';')
	}
}

func (p *original) policy() bool {
	p.advance()
	if p.tok.kind != tokenString || p.tok.text == "" {
		p.unexpected("the policy's name in quotes")
		return false
	}
	p.c.Policy.Name, p.c.Policy.Pos = p.tok.text, p.tok.pos
	where := policyBlock(p.tok.text)
	p.advance()
	if p.tok.kind != '{' {
		return true
	}
	return p.statements(where, false, func() bool {
		if p.tok.kind != keywordSet {
			p.unexpected("a set statement in " + where)
			return false
		}
		s, ok := p.setting(where)
		if ok {
			p.c.Policy.Settings = append(p.c.Policy.Settings, s)
		}
		return ok
	})
}

func (p *original) iface() bool {
	at := p.tok.pos
	p.advance()
	if p.tok.kind != tokenString && p.tok.kind != tokenWord {
		p.unexpected("an interface name")
		return false
	}
	where := "iface " + p.tok.String()
	p.advance()
	if p.tok.kind != '{' {
		p.unexpected("{")
		return false
	}
	ok := p.statements(where, false, func() bool {
		p.unexpected("} (an iface block must be empty)")
		return false
	})
	p.warnf(at, "%s has no effect, as in the original; interface blocks of the HCL form have", where)
	return ok
}

// prefix reads a prefix block. The length is ignored: the block is about the
// local prefix in which the address lies.
func (p *original) prefix() bool {
	p.advance()
	addr, at, isAddr := netip.Addr{}, p.tok.pos, p.tok.kind == tokenIPv4 || p.tok.kind == tokenIPv6
	if !isAddr {
		p.unexpected("an address without quotes")
		return false
	}
	text := p.tok.text
	addr, _ = netip.ParseAddr(text) // a bad one was reported by advance
	p.advance()
	if !p.accept('/') {
		p.unexpected("a / and the length of the prefix")
		return false
	}
	if p.tok.kind != tokenInteger {
		p.unexpected("the length of the prefix")
		return false
	}
	length, ok := p.integer()
	if ok && addr.IsValid() && int(length) > addr.BitLen() {
		p.warnf(p.tok.pos, "%d is no length of a prefix (it is ignored)", length)
	}
	where := fmt.Sprintf("prefix %s/%s", text, p.tok.text)
	p.advance()
	if p.tok.kind != '{' {
		p.unexpected("{")
		return false
	}
	b := Block{Prefix: netip.PrefixFrom(addr, addr.BitLen()), Written: strings.TrimPrefix(where, "prefix "), Pos: at}
	ok = p.statements(where, true, func() bool { return p.prefixStatement(where, &b) })
	if ok && addr.IsValid() {
		p.add(b)
	}
	return ok
}

// add adds a block. A second one for an address replaces the first but for
// "enabled", as in Config.Settings.
func (p *original) add(b Block) {
	i, again := p.blocks[b.Prefix]
	if !again {
		p.blocks[b.Prefix] = len(p.c.Blocks)
		p.c.Blocks = append(p.c.Blocks, b)
		return
	}
	if first := &p.c.Blocks[i]; first.Written != b.Written {
		p.warnf(b.Pos, "prefix %s replaces what prefix %s in line %d says, but for enabled: in this grammar lengths are ignored, and the addresses are the same", b.Written, first.Written, first.Pos.Line)
	}
	if b.Enabled == nil {
		b.Enabled = p.c.Blocks[i].Enabled
	}
	// It moves to the end, because what it replaces may stand in blocks between.
	p.c.Blocks[i] = Block{}
	p.blocks[b.Prefix] = len(p.c.Blocks)
	p.c.Blocks = append(p.c.Blocks, b)
}
