// Package selection tells which of the host's prefixes a configuration is about.
package selection

import (
	"net/netip"
	"slices"

	"github.com/socket-intents/mamma/internal/config"
	"github.com/socket-intents/mamma/internal/network/netmon"
)

// Network is a prefix to be managed, and what the configuration says of it.
type Network struct {
	netmon.Prefix
	Settings config.PrefixSettings
}

// Select returns the prefixes that cfg wants managed, in prefix-list order.
//
// An interface block means the prefixes with global addresses: link-local ones
// reach nothing beyond the link, where the interface is given by the address
// anyway. A prefix block means what it names; one that holds much more than the
// loopback or link-local prefix in it, such as 0.0.0.0/0, does not name that. Auto means what leads to everywhere, or
// will when its routes are managed; beside a VPN that takes all traffic it means the VPN only: going around it must be configured.
func Select(cfg *config.Config, nets *netmon.Snapshot) []Network {
	var list []Network
	for _, p := range nets.Prefixes() {
		s := settings(cfg, nets, &p)
		leads := p.HasDefault || p.Hidden && cfg.Routing == config.RoutingManage
		auto := cfg.Auto && !s.Named && leads && !nets.Beside(&p)
		if !s.Enabled && !auto {
			continue
		}
		if (p.Scope != netmon.ScopeGlobal || p.Loopback) && !namedByPrefix(cfg, &p) {
			continue
		}
		list = append(list, Network{p, s})
	}
	return list
}

// settings are what cfg says about a prefix, under whichever name of its interface.
func settings(cfg *config.Config, nets *netmon.Snapshot, p *netmon.Prefix) config.PrefixSettings {
	l, _ := nets.Link(p.Index)
	return cfg.Settings(p.Interface, p.Prefix, l.AltNames...)
}

func namedByPrefix(cfg *config.Config, p *netmon.Prefix) bool {
	return slices.ContainsFunc(cfg.Blocks, func(b config.Block) bool { return names(&b, p) })
}

// names tells whether a block is a prefix block that names p.
func names(b *config.Block, p *netmon.Prefix) bool {
	switch {
	case !b.Prefix.IsValid():
		return false
	case p.Prefix.Contains(b.Prefix.Addr()):
		return true
	}
	return b.Prefix.Bits() <= p.Prefix.Bits() && b.Prefix.Contains(p.Prefix.Addr()) && (!local(p.Prefix.Addr()) && !p.Loopback || local(b.Prefix.Addr()))
}

// local tells whether an address reaches nothing beyond this host and its links.
func local(a netip.Addr) bool { return a.IsLoopback() || a.IsLinkLocalUnicast() }

// Barren returns the blocks that are about some of the host's prefixes, none of which is
// managed because of them: all are link-local, or the loopback interface's. links names
// for each block the interfaces that these are on.
func Barren(cfg *config.Config, nets *netmon.Snapshot) (list []config.Block, links [][]netmon.Link) {
	for _, b := range cfg.Blocks {
		if b.Enabled != nil && !*b.Enabled || cfg.Original && b.Enabled == nil {
			continue
		}
		alone := *cfg
		alone.Blocks = []config.Block{b}
		var on []netmon.Link
		useful := false
		for _, p := range nets.Prefixes() {
			if !settings(&alone, nets, &p).Named {
				continue
			}
			useful = useful || p.Scope == netmon.ScopeGlobal && !p.Loopback || names(&b, &p)
			l, _ := nets.Link(p.Index)
			on = append(on, l)
		}
		if !useful && len(on) > 0 {
			list, links = append(list, b), append(links, on)
		}
	}
	return list, links
}

// Unmatched returns the blocks that are about none of the host's prefixes.
func Unmatched(cfg *config.Config, nets *netmon.Snapshot) []config.Block {
	var list []config.Block
	for _, b := range cfg.Blocks {
		alone := *cfg
		alone.Blocks = []config.Block{b}
		if !slices.ContainsFunc(nets.Prefixes(), func(p netmon.Prefix) bool { return settings(&alone, nets, &p).Named }) {
			list = append(list, b)
		}
	}
	return list
}
