package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// parseOriginal reads a file in the original grammar (doc/original/daemon.md 12). It
// accepts every valid file, with the same meaning. The original dropped some statements
// with or without a message. Here they are errors, unless it is clear what was meant.
// text is the file, or the file with its quotes closed. ok is false if r has errors.
func parseOriginal(c *Config, r *report, text []byte) (ok bool) {
	c.Original, c.SystemBus = true, Off
	p := &original{c: c, report: r, lx: newLexer(text), blocks: map[netip.Prefix]int{}}
	p.advance()
	for p.tok.kind != tokenEOF {
		p.block()
	}
	c.Policy.Settings = p.ours(lastOfEach(c.Policy.Settings))
	p.foreign(c.Policy.Settings, false)
	for i := range c.Policy.Settings { // all policy blocks together make up the last one's settings
		c.Policy.Settings[i].Block = policyBlock(c.Policy.Name)
	}
	c.Blocks = slices.DeleteFunc(c.Blocks, func(b Block) bool { return !b.Prefix.IsValid() }) // blocks that add has emptied
	for i := range c.Blocks {
		c.Blocks[i].Options = lastOfEach(c.Blocks[i].Options)
		p.foreign(c.Blocks[i].Options, true)
	}
	c.told = r.told
	return len(r.errors) == 0
}

func policyBlock(name string) string { return fmt.Sprintf("policy %q", name) }

type original struct {
	*report
	c      *Config
	lx     *lexer
	tok    token
	blocks map[netip.Prefix]int // index in c.Blocks
	// skipping is set after an error, while the rest of the statement is skipped.
	skipping bool
}

// advance goes to the next token. A character that belongs to no token is reported and
// then ignored, as in the original.
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

// unexpected reports that something else was expected in place of the current token,
// for instance one of the known words.
func (p *original) unexpected(want string, known ...string) {
	hint := ""
	if p.tok.kind == tokenWord && len(known) > 0 {
		hint = Suggest(p.tok.text, known)
	}
	p.errorf(p.tok.pos, "expected %s, found %s%s", want, p.tok, hint)
}

// accept consumes the current token if it is of that kind.
func (p *original) accept(kind tokenKind) bool {
	if p.tok.kind != kind {
		return false
	}
	p.advance()
	return true
}

// block reads a block with its final semicolon.
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
		// Original: defect (doc/original/daemon.md 12.5). The semicolon is not required
		// here, since the original's own README shows a last block without one.
		p.warnf(p.tok.pos, "a semicolon is missing after the block before %s", p.tok)
	default:
		p.unexpected("a semicolon after the block")
		p.skipBlock()
	}
}

// skipBlock skips to the token after the semicolon that ends the current block.
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

// statements reads the statements between braces; the current token is the opening
// brace. statement reads one of them without its semicolon.
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

// prefix reads a prefix block. The prefix length is ignored, because the block is about
// the local prefix that contains the address.
func (p *original) prefix() bool {
	p.advance()
	addr, at, isAddr := netip.Addr{}, p.tok.pos, p.tok.kind == tokenIPv4 || p.tok.kind == tokenIPv6
	if !isAddr {
		p.unexpected("an address without quotes")
		return false
	}
	text := p.tok.text
	addr, _ = netip.ParseAddr(text) // advance has already reported a bad address
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
		p.warnf(p.tok.pos, "%d is not a length of a prefix (it is ignored)", length)
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

// add adds a block. A second block for the same address replaces the first, apart from
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
	// The block moves to the end, because blocks in between may be replaced by it, too.
	p.c.Blocks[i] = Block{}
	p.blocks[b.Prefix] = len(p.c.Blocks)
	p.c.Blocks = append(p.c.Blocks, b)
}
