package config

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/policy"
)

// Block is a prefix or interface block. What it does not say is nil, empty or
// invalid.
type Block struct {
	// Prefix is the network of a prefix block, whose address may have bits
	// beyond the mask; a block that names an address alone holds it with full
	// length. It is invalid in interface blocks.
	Prefix netip.Prefix
	// Interface is the pattern of an interface block, as path.Match takes it.
	Interface string
	// Written is the network or pattern as the file has it, for messages.
	Written string

	// Name is what the network is called, for people and programs.
	Name        string
	Enabled     *bool
	Default     *bool
	Cost        *policy.Cost
	Budget      *Bytes
	BudgetReset *int
	LinkDNS     *bool
	Nameservers []netip.AddrPort
	ResolvConf  string
	DNSBindTo   netip.Addr
	// Options are the settings that the policy reads.
	Options []policy.Setting
	// Pos is where the network or name stands.
	Pos Pos
}

// applies tells whether the block is about prefix p on an interface: by one of its names,
// or because p lies inside the block's network or holds its address.
func (b *Block) applies(p netip.Prefix, iface string, altNames []string) bool {
	if !b.Prefix.IsValid() {
		matches := func(name string) bool {
			ok, err := path.Match(b.Interface, name)
			return ok && err == nil
		}
		return matches(iface) || slices.ContainsFunc(altNames, matches)
	}
	return p.Contains(b.Prefix.Addr()) || b.Prefix.Bits() <= p.Bits() && b.Prefix.Contains(p.Addr())
}

// compareSpecific orders blocks from general to specific. See Config.Settings.
func compareSpecific(a, b *Block) int {
	rank := func(b *Block) (kind, length int) {
		switch {
		case b.Prefix.IsValid():
			return 2, b.Prefix.Bits()
		case !isGlob(b.Interface):
			return 1, 0
		}
		return 0, len(b.Interface)
	}
	aKind, aLength := rank(a)
	bKind, bLength := rank(b)
	return cmp.Or(cmp.Compare(aKind, bKind), cmp.Compare(aLength, bLength))
}

func isGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// PrefixSettings is what the configuration says about one local prefix.
type PrefixSettings struct {
	// Named tells that a block applies to the prefix. Without one the rest is
	// zero, and only Config.Auto can make the prefix managed.
	Named bool
	// Enabled tells that the prefix is to be managed because a block says so.
	Enabled bool
	// Name is what the network is called; "" where nothing is said.
	Name string
	// Default is nil where nothing is said. Auto then chooses the default.
	Default *bool
	Cost    policy.Cost
	// CostGiven tells that a block says what traffic costs.
	CostGiven bool
	// Budget is how much may be transferred in a month; 0: no limit. The month
	// begins on day BudgetReset, 1 to 31 and the last day of shorter months; 0:
	// nothing is said, which is the first.
	Budget      Bytes
	BudgetReset int
	// LinkDNS tells whether the name servers that systemd has for the interface
	// are asked where Nameservers and ResolvConf give none; nil where nothing is
	// said.
	LinkDNS *bool
	// Nameservers and ResolvConf are the prefix's resolvers; where both are
	// empty it has none of its own.
	Nameservers []netip.AddrPort
	ResolvConf  string
	// DNSBindTo is the source address of its queries; invalid: the prefix's own.
	DNSBindTo netip.Addr
	// Options are the settings that the policy reads; nil if there are none.
	Options policy.Options
}

// Settings merges, setting by setting, the blocks that apply to prefix p on an
// interface. Of two blocks that both give a setting the more specific one
// counts: a prefix block over an interface block, the longer prefix over the
// shorter, an interface name over a pattern, the longer pattern over the
// shorter, and where they are equal the later one. What a block names is
// enabled unless the most specific block that says anything about it says
// otherwise.
//
// In the original grammar a block applies to the prefix that its address lies
// in and replaces all that earlier blocks said about that prefix, but for
// "enabled", which must be said and lasts until a later block says otherwise
// (doc/original/daemon.md 12.3). Where equal prefixes exist on several interfaces all
// of them are configured, not just the first (17, D31).
//
// The alternative names of an interface (ip-link(8), "altname") are as good as the
// first.
func (c *Config) Settings(iface string, p netip.Prefix, altNames ...string) PrefixSettings {
	var blocks []*Block
	for i := range c.Blocks {
		if b := &c.Blocks[i]; b.applies(p, iface, altNames) {
			blocks = append(blocks, b)
		}
	}
	s := PrefixSettings{Named: len(blocks) > 0}
	s.Enabled = s.Named && !c.Original
	if !c.Original {
		slices.SortStableFunc(blocks, compareSpecific)
	}
	for _, b := range blocks {
		if c.Original {
			s = PrefixSettings{Named: true, Enabled: s.Enabled}
		}
		s.merge(b)
	}
	return s
}

// merge puts what b says over s.
func (s *PrefixSettings) merge(b *Block) {
	if b.Enabled != nil {
		s.Enabled = *b.Enabled
	}
	if b.Name != "" {
		s.Name = b.Name
	}
	if b.Default != nil {
		s.Default = b.Default
	}
	if b.Cost != nil {
		s.Cost, s.CostGiven = *b.Cost, true
	}
	if b.Budget != nil {
		s.Budget = *b.Budget
	}
	if b.BudgetReset != nil {
		s.BudgetReset = *b.BudgetReset
	}
	if b.LinkDNS != nil {
		s.LinkDNS = b.LinkDNS
	}
	if len(b.Nameservers) > 0 {
		s.Nameservers = b.Nameservers
	}
	if b.ResolvConf != "" {
		s.ResolvConf = b.ResolvConf
	}
	if b.DNSBindTo.IsValid() {
		s.DNSBindTo = b.DNSBindTo
	}
	for _, o := range b.Options {
		if s.Options == nil {
			s.Options = policy.Options{}
		}
		s.Options[o.Name] = policy.NewOption(o.Value)
	}
}
