package config

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/socket-intents/mamma/policy"
)

// Block is a prefix or interface block. A setting that it does not give is nil, empty
// or invalid.
type Block struct {
	// Prefix is the network of a prefix block; its address may have bits beyond the
	// mask. If a block names only an address, Prefix has full length. It is invalid in
	// interface blocks.
	Prefix netip.Prefix
	// Interface is the pattern of an interface block, as path.Match takes it.
	Interface string
	// Written is the network or pattern as it stands in the file, for messages.
	Written string

	// Name is the name of the network, for people and programs.
	Name        string
	Enabled     *bool
	Default     *bool
	Cost        *policy.Cost
	Budget      *Bytes
	BudgetReset *int
	OnDown      *OnDown
	LinkDNS     *bool
	Nameservers []netip.AddrPort
	ResolvConf  string
	DNSBindTo   netip.Addr
	// Options are the settings for the policy.
	Options []policy.Setting
	// Pos is the position of the network or pattern.
	Pos Pos
}

// applies tells whether the block is about prefix p on an interface. It is if it names
// the interface, or if p lies inside of the block's network, or contains the block's
// address.
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
	// Named tells that a block applies to the prefix. Without one everything else here
	// is zero, and only Config.Auto can make the prefix managed.
	Named bool
	// Enabled tells that a block makes the prefix managed.
	Enabled bool
	// Name is the name of the network; "" if no block gives one.
	Name string
	// Default is nil if no block says anything. Auto then chooses the default.
	Default *bool
	Cost    policy.Cost
	// CostGiven tells that a block states what traffic costs.
	CostGiven bool
	// Budget is how much may be transferred in a month; 0: no limit. The month begins
	// on day BudgetReset, 1 to 31, or on the last day of a shorter month. 0 means that
	// no block says when; the month then begins on the first.
	Budget      Bytes
	BudgetReset int
	// OnDown says what becomes of established connections while the network is down.
	OnDown OnDown
	// LinkDNS tells whether to ask the name servers that systemd has for the interface,
	// if Nameservers and ResolvConf give none. It is nil if no block says anything.
	LinkDNS *bool
	// Nameservers and ResolvConf give the prefix's own resolvers. If both are empty, it
	// has none.
	Nameservers []netip.AddrPort
	ResolvConf  string
	// DNSBindTo is the source address of its queries; invalid: the prefix's own.
	DNSBindTo netip.Addr
	// Options are the settings for the policy; nil if there are none.
	Options policy.Options
}

// Settings merges, setting by setting, the blocks that apply to prefix p on an
// interface. If two blocks give the same setting, the more specific one counts. A
// prefix block is more specific than an interface block, a longer prefix than a shorter
// one, an interface name than a pattern, and a longer pattern than a shorter one. Of
// equal blocks the later one counts. A named network is enabled, unless the most
// specific block with "enabled" says otherwise.
//
// In the original grammar a block applies to the prefix that contains its address. It
// replaces everything that earlier blocks said about that prefix, apart from "enabled".
// "enabled" must be set explicitly, and lasts until a later block changes it
// (doc/original/daemon.md 12.3). If several interfaces have the same prefix, the block
// applies to all of them, and not only to the first (17, D31).
//
// The alternative names of an interface (ip-link(8), "altname") count like the first
// name.
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

// merge overwrites s with the settings of b.
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
	if b.OnDown != nil {
		s.OnDown = *b.OnDown
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
